"""`review`: list the studies that wait for a person, and record decisions."""

import sys
from typing import Annotated, Any

import typer

from shared.counts import counted
from shared.terminal import make_app, print_json, print_line, print_table
from site_node.commands.options import Json, Person, node_of
from site_node.home.words import NO_STUDY
from site_node.linkage import export
from site_node.node.waits import next_of_node
from site_node.reasons import advice_for
from site_node.review import decisions
from site_node.review.versions import ImageVersions
from site_node.study import Reason
from site_node.validate.report_markdown import ReviewDecision, to_markdown

review = make_app("List what waits for a person, and decide on it. Every decision is kept with who and why.")

Study = Annotated[
    str, typer.Argument(help="The study's key as `review list` shows it, or a beginning that no other has.")
]
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept in the home's audit.")]


@review.command(name="list")
def list_waiting(context: typer.Context, as_json: Json = False) -> None:
    """List the studies in quarantine and why each is there; pictures lie in the home's quarantine folder.

    Example: `ricord-site review list --json`
    """
    with node_of(context, writing=False) as node:
        items = decisions.list_waiting(node.home, node.ledger)
        with_versions = decisions.list_with_versions(node.ledger)
    if as_json:
        print_json([item.model_dump(mode="json") for item in items])
        return
    rows = [
        (item.key if first else "", _why(reason), " ".join(item.pictures) if first else "")
        for item in items
        for first, reason in zip((True, *[False] * len(item.reasons)), item.reasons, strict=False)
    ]
    print_table(f"{counted(len(items), 'study', 'waits')} for a person", ["Study", "Why", "Pictures"], rows)
    for key in with_versions:
        print_line(f"Study {key} goes on without an image of which several versions came; see `review show`.")


@review.command()
def show(context: typer.Context, study: Study, as_json: Json = False) -> None:
    """Show why one study waits, and where its pictures lie, on which each text found is framed. Pictures are PHI.

    Of an image that came in several versions it lists those and the attributes that differ; on a terminal the values.

    Example: `ricord-site review show 3f9a01bc`
    """
    with node_of(context, writing=False) as node:
        case = decisions.show(node.home, node.ledger, study)
    if as_json:
        print_json(case)
        return
    print_line(f"Study {case.item.key}, waiting since {case.item.since:%Y-%m-%d %H:%M}")
    for reason in case.item.reasons:
        print_line(f"  {_why(reason)}")
    if case.blanked:
        print_line(f"  {counted(case.blanked, 'box', 'was')} decided on before; what was blanked stays so.")
    for frame in case.frames:
        print_line(str(case.folder / frame.picture))
        for box in frame.boxes:
            print_line(f"  {frame.picture}:{','.join(str(max(0, side)) for side in box)}")
    for image in case.versions:
        _show_versions(image)


@review.command()
def blank(
    context: typer.Context,
    study: Study,
    *,
    reason: Why,
    person: Person = "",
    box: Annotated[
        list[str] | None,
        typer.Option(
            help="PICTURE:left,top,right,bottom in its pixels; may be repeated. Without: all that were found."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Have boxes of a study's pictures blanked; the search for text then runs again and must pass.

    Only the pixels in the boxes change: they become as dark as the darkest of their frame. Compressed images come out
    uncompressed. Boxes blanked before stay so.

    Example: `ricord-site review blank 3f9a01bc --as "A. Miller" --reason "name in the corner" --box 0.png:10,20,200,60`
    """
    with node_of(context, writing=False) as node:
        key, blanking = decisions.blank(node.home, node.ledger, study, actor=person, reason=reason, boxes=box or ())
        following = next_of_node(running=node.home.is_served())
    _show_decision(key, "to be blanked", following, as_json=as_json, boxes=len(blanking.boxes))


@review.command()
def report(
    context: typer.Context,
    study: Annotated[str, typer.Argument(help="The study's key, or its new Study Instance UID, or a beginning.")],
    as_json: Json = False,
) -> None:
    """Print what validation found of one study, as a page in Markdown to read and sign; with --json as the file has it.

    The page holds attribute names, counts and new identifiers, and the decisions of persons, in their words.

    Example: `ricord-site review report 3f9a01bc > report.md`
    """
    with node_of(context, writing=False) as node:
        entry = decisions.find_reported(node.home, node.ledger, study)
        content = (node.home.reports / f"{entry.study}.json").read_bytes()
        events = [event for event in node.ledger.events() if event.key == entry.key]
    if as_json:
        print_line(content.decode().replace("\n", ""))
        return
    review_decisions = [ReviewDecision(event.at, event.actor, event.action, event.detail) for event in events]
    print_line(to_markdown(content, review_decisions))


@review.command()
def release(context: typer.Context, study: Study, *, reason: Why, person: Person = "", as_json: Json = False) -> None:
    """Send a study on: the reasons that held it are released, and the next run takes it through every stage again.

    `accept` is the same; say it where a rule of the screen held the study. What the criteria reject, and a study
    without a patient, cannot be sent on.

    Example: `ricord-site review release 3f9a01bc --as "A. Miller" --reason "the text is a side marker"`
    """
    with node_of(context, writing=False) as node:
        key = decisions.release(node.home, node.ledger, study, actor=person, reason=reason)
        following = next_of_node(running=node.home.is_served())
    _show_decision(key, "released", following, as_json=as_json)


@review.command()
def accept(context: typer.Context, study: Study, *, reason: Why, person: Person = "", as_json: Json = False) -> None:
    """Send a study on that a rule of the screen held; the same as `release`.

    Example: `ricord-site review accept 3f9a01bc --as "A. Miller" --reason "chest, seen by me"`
    """
    release(context, study, reason=reason, person=person, as_json=as_json)


@review.command()
def choose(
    context: typer.Context,
    study: Study,
    image: Annotated[str, typer.Argument(help="The version's name as `review show` shows it, or its first digits.")],
    *,
    reason: Why,
    person: Person = "",
    as_json: Json = False,
) -> None:
    """Let one of several versions of an image go on with its study; the others stay in quarantine.

    Example: `ricord-site review choose 3f9a01bc 77aa12de --as "A. Miller" --reason "the source confirms it"`
    """
    with node_of(context, writing=False) as node:
        key, version = decisions.choose(node.home, node.ledger, study, image, actor=person, reason=reason)
        following = next_of_node(running=node.home.is_served())
    _show_decision(key, "to go on with the version chosen", following, as_json=as_json, image=version)


@review.command()
def reject(context: typer.Context, study: Study, *, reason: Why, person: Person = "", as_json: Json = False) -> None:
    """Leave a study out for good.

    Example: `ricord-site review reject 3f9a01bc --as "A. Miller" --reason "a phantom"`
    """
    with node_of(context, writing=False) as node:
        key = decisions.reject(node.home, node.ledger, study, actor=person, reason=reason)
    _show_decision(key, "rejected", as_json=as_json)


@review.command()
def audit(context: typer.Context, as_json: Json = False) -> None:
    """Show every decision, the oldest first.

    Example: `ricord-site review audit`
    """
    with node_of(context, writing=False) as node:
        events = node.ledger.events()
    if as_json:
        print_json([event.model_dump(mode="json") for event in events])
        return
    rows = [
        (
            f"{event.at:%Y-%m-%d %H:%M}",
            event.actor,
            event.action,
            "" if event.key == NO_STUDY else event.key,
            event.detail,
        )
        for event in events
    ]
    print_table("Decisions", ["When", "Who", "What", "Study", "Why"], rows)


@review.command()
def reidentify(
    context: typer.Context,
    pseudonym: Annotated[str, typer.Argument(help="A pseudonym of this site, as 123456-000042.")],
    *,
    reason: Why,
    person: Person = "",
    as_json: Json = False,
) -> None:
    """Show which of the hospital's patients has a pseudonym. PHI: on the hospital's terminal only.

    The request, who made it and why are kept in the audit before the answer is shown; the answer is kept nowhere.

    Example: `ricord-site review reidentify 123456-000042 --as "A. Miller" --reason "incidental finding"`
    """
    with node_of(context, writing=False) as node:
        link, flag = export.reidentify(node.ledger, node.stages.pseudonyms, pseudonym, actor=person, reason=reason)
    earlier_pseudonym = link.earlier.pseudonym if link.earlier else None
    if as_json:
        answer = {"issuer": link.issuer, "patient_id": link.patient_id, "earlier": earlier_pseudonym}
        print_json({**answer, "flag": flag or None})
        return
    print_line(f"PatientID: {link.patient_id}")
    if link.issuer:
        print_line(f"IssuerOfPatientID: {link.issuer}")
    if earlier_pseudonym:
        print_line(f"Earlier pseudonym: {earlier_pseudonym}" + (f" ({flag})" if flag else ""))


def _why(reason: Reason) -> str:
    """Why a study waits, and what the hospital can do."""
    return f"{reason.code}: {reason.message} {advice_for(reason.code)}".rstrip()


def _show_versions(image: ImageVersions) -> None:
    """The versions of an image and what differs; values are for a person's screen, not for a file."""
    print_line(f"Versions of one image: {', '.join(image.names)}")
    for name, unlike in zip(image.names[1:], image.differences, strict=True):
        for difference in unlike:
            values = f": {difference.values[0]!r}, {difference.values[1]!r}" if sys.stdout.isatty() else ""
            print_line(f"  {image.names[0]} and {name} differ in {difference.attribute}{values}")


def _show_decision(key: str, decision: str, following: str = "", *, as_json: bool, **details: Any) -> None:
    """Show a decision and, where the study goes on, what is next."""
    if as_json:
        print_json({"study": key, "decision": decision, **details})
    else:
        print_line(f"Study {key} is {decision}." + (f" Next: {following}." if following else ""))
