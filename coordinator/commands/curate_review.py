"""`curate review`: look at what was opened, and decide on it by name."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from coordinator.commands.console import PACKAGES
from coordinator.commands.home_folder import folder_of
from coordinator.commands.output import AsJson
from coordinator.curation.deciding import Decider, checked_reasons
from coordinator.curation.membership import CuratorHome, member_of
from coordinator.curation.opening import OpenedStudy, list_opened
from coordinator.curation.purging import purged_submissions
from coordinator.curation.register.acts import Act, Actor, Role
from coordinator.curation.register.register import Case, Change, Register
from coordinator.curation.review.checking import write_sheets
from coordinator.curation.review.reviewing import (
    Mark,
    codes_to_allow,
    confirm,
    instances_of,
    mark,
    marks_of,
    results_of,
)
from coordinator.curation.review.sending import keep_for_site, send_decisions
from coordinator.curation.review.verdict import worst
from coordinator.home.signals import stop_signals
from shared.counts import counted
from shared.errors.inputs import InvalidArgument, NotFound
from shared.errors.transport import TransportError
from shared.extras import require_extra
from shared.ids import Sha256, Uid
from shared.member import member_channel
from shared.submission_state import SubmissionState
from shared.terminal import make_app, print_json, print_line, print_table, report

Acting = Callable[[Change, Case, Actor, OpenedStudy | None], None]

review = make_app("Look at what was opened, and decide on it by name; every decision is in the register's log.")


def _checked_name(context: typer.Context, name: str) -> str:
    text = " ".join(name.split())
    if not (context.resilient_parsing or (text and text.isprintable() and len(text) <= 100)):
        problem = "say who decides, by name, or set RICORD_CURATOR_PERSON; it is kept"
        raise InvalidArgument(name="--as", problem=problem)
    return text


Person = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="NAME",
        envvar="RICORD_CURATOR_PERSON",
        callback=_checked_name,
        help="Who decides: a person's name, kept in the register's log.",
    ),
]
Id = Annotated[str, typer.Argument(help="The id of an opened submission, or its beginning.")]
Why = Annotated[list[str], typer.Option("--reason", help="Why, in words that the site reads; may be given again.")]


@review.command(name="list")
def list_cases(context: typer.Context, as_json: AsJson = False) -> None:
    """List what was opened: its state, how many images a person has marked, and what the checks say."""
    with opened_register(context) as (_, register, opened), register.reading() as reading:
        studies: list[dict[str, Any]] = [
            {
                "submission": case.submission,
                "site_id": case.site_id,
                "state": case.state,
                "images": len(instances_of(opened[case.submission])) if case.submission in opened else 0,
                "marked": len(marks_of(reading, case)),
                "verdict": worst(results_of(reading, case)),
                "findings": sorted({each.code for each in results_of(reading, case)}),
                "to_allow": sorted(codes_to_allow(results_of(reading, case))),
            }
            for case in reading.cases()
        ]
    if as_json:
        print_json(studies)
        return
    rows = [
        (
            *(study["submission"][:12], study["site_id"], study["state"], f"{study['marked']} of {study['images']}"),
            ", ".join(study["findings"]),
        )
        for study in studies
    ]
    print_table("Studies that were opened", ["Submission", "SITEID", "State", "Marked", "Findings"], rows)


@review.command()
def sheets(
    context: typer.Context,
    submission: Id,
    out: Annotated[Path, typer.Option(help="The folder into which they are written.")],
    as_json: AsJson = False,
) -> None:
    """Write a study's contact sheets as PNG; over all of them each image is shown. They are pixels: keep them here."""
    with opened_register(context) as (_, register, opened), register.reading() as reading:
        case = reading.named(submission)
        study = _opened(opened, case)
    written = write_sheets(study, case.number, out)
    if as_json:
        print_json({"case": case.number, "sheets": written})
        return
    for name, instances in written.items():
        print_line(f"{out / name}: {counted(len(instances), 'image')}")


@review.command(name="mark")
def mark_images(
    context: typer.Context,
    submission: Id,
    seen: Annotated[Mark, typer.Argument(help="What you see in the images.")],
    person: Person = "",
    instance: Annotated[
        list[str] | None, typer.Option(help="The UID of an image; without it all that have no mark yet.")
    ] = None,
) -> None:
    """Note what you saw in a study's images; once each has a mark the study is reviewed."""
    with opened_register(context) as (_, register, opened), register.changing() as change:
        case = change.named(submission)
        study = _opened(opened, case)
        unmarked = [image for image in instances_of(study) if image not in marks_of(change, case)]
        images = [Uid(each) for each in instance] if instance else unmarked
        case = mark(change, case, study, dict.fromkeys(images, seen), Actor(role=Role.CURATOR, name=person))
    print_line(f"{counted(len(images), 'image')} marked {seen}; the study is {case.state}.")


@review.command(name="confirm")
def confirm_study(
    context: typer.Context,
    submission: Id,
    person: Person = "",
    allow: Annotated[
        list[str] | None, typer.Option(help="The code of a finding that you have looked into; may be given again.")
    ] = None,
    reason: Annotated[list[str] | None, typer.Option(help="A remark for the site; may be given again.")] = None,
) -> None:
    """Confirm by your name that a study is de-identified and of the protocol: it is accepted, and its site hears it."""

    def act(change: Change, case: Case, by: Actor, study: OpenedStudy | None) -> None:
        if study is None:
            raise NotFound(kind="opened study of submission", name=case.submission)
        confirm(change, case, study, by, allow or ())

    _decide(context, submission, person, act, state=SubmissionState.ACCEPTED, reasons=reason or ())


@review.command()
def quarantine(context: typer.Context, submission: Id, reason: Why, person: Person = "") -> None:
    """Hold back a study that was reviewed or accepted, until somebody confirms or rejects it."""
    state = SubmissionState.QUARANTINED
    _decide(context, submission, person, _acting(Act.QUARANTINE), state=state, reasons=reason)


@review.command()
def reject(context: typer.Context, submission: Id, reason: Why, person: Person = "") -> None:
    """Reject a study; its site is given the reasons."""
    _decide(context, submission, person, _acting(Act.REJECT), state=SubmissionState.REJECTED, reasons=reason)


@review.command()
def reopen(context: typer.Context, submission: Id, reason: Why, person: Person = "") -> None:
    """Take back a rejection: the study is checked and reviewed anew."""
    _decide(context, submission, person, _acting(Act.REOPEN), state=SubmissionState.QUARANTINED, reasons=reason)


@review.command()
def serve(
    context: typer.Context,
    person: Person = "",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Where the pages are, on this machine alone.")] = 8423,
) -> None:
    """Serve the pages at which you look at contact sheets and confirm studies, until Ctrl-C; the link works once."""
    with opened_register(context) as (home, register, _opened_studies):
        require_extra("curation", *PACKAGES)
        from coordinator.curation.review.console.served import review_served

        def send() -> None:
            try:
                with deciding(home) as decider:
                    send_decisions(register, decider)
            except TransportError as error:  # the next `curate open` sends it
                report(error, as_json=False)

        with stop_signals() as stop, review_served(home, register, person, port, send) as link:
            print_line(f"ready: {link}")
            stop.wait()


@review.command()
def log(
    context: typer.Context,
    verify: Annotated[bool, typer.Option("--verify", help="Only say whether every entry fits the one before.")] = False,
    as_json: AsJson = False,
) -> None:
    """The register's log: who did what to which study, each entry chained to the one before."""
    with opened_register(context) as (_, register, _opened_studies), register.reading() as reading:
        report = reading.verified()
        events = [] if verify else [event.model_dump(mode="json") for event in reading.events()]
    if as_json:
        print_json({"events": events, "report": report.model_dump(mode="json"), "intact": report.intact})
    else:
        rows = [
            (str(e["number"]), e["at"][:19], e["actor"], e["action"], e["object"][:12], e["result"]) for e in events
        ]
        if rows:
            print_table("The register's log", ["", "At", "Who", "What", "Of", "Result"], rows)
        ending = "whole" if report.intact else f"broken at entry {report.broken_at}"
        print_line(f"The log of {counted(report.events, 'entry')} is {ending}.")
    if not report.intact:
        raise typer.Exit(1)


@contextmanager
def opened_register(context: typer.Context) -> Iterator[tuple[CuratorHome, Register, dict[Sha256, OpenedStudy]]]:
    """The curator's home, its register as it follows from what is open, and that by submission."""
    home = CuratorHome(folder_of(context))
    home.settings()
    opened = {study.submission: study for study in list_opened(home.opened)}
    with closing(Register(home.register)) as register:
        register.follow(opened.values(), purged_submissions(home))
        yield home, register, opened


@contextmanager
def deciding(home: CuratorHome) -> Iterator[Decider]:
    """A curator's decisions on a connection."""
    keys = home.load_keys()
    with member_channel(member_of(home, keys)) as channel:
        yield Decider(channel, keys)


def _acting(act: Act) -> Acting:
    def acting(change: Change, case: Case, by: Actor, _study: OpenedStudy | None) -> None:
        change.act(case, act, by)

    return acting


def _decide(
    context: typer.Context, submission: str, by: str, act: Acting, *, state: SubmissionState, reasons: Sequence[str]
) -> None:
    """Act and keep what the site hears in one change, then send it: a kill in between loses neither."""
    checked = checked_reasons(reasons)
    with opened_register(context) as (home, register, opened):
        with register.changing() as change:
            case = change.named(submission)
            act(change, case, Actor(role=Role.CURATOR, name=by), opened.get(case.submission))
            keep_for_site(change, case, state, checked)
        print_line(f"{state} {case.submission}")
        with deciding(home) as decider:
            send_decisions(register, decider)


def _opened(opened: dict[Sha256, OpenedStudy], case: Case) -> OpenedStudy:
    if case.submission not in opened:
        raise NotFound(kind="opened study of submission", name=case.submission)
    return opened[case.submission]
