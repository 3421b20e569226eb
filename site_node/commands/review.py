"""`review`: what waits for a person."""

import getpass
from typing import Annotated

import typer

from shared.terminal import make_app, print_json, print_line, print_table
from site_node import linkage
from site_node.commands.node import Json, open_node
from site_node.review import decisions

review_app = make_app("List what waits for a person, and decide on it. Every decision is kept with who and why.")

Study = Annotated[str, typer.Argument(help="The study's key as `review list` shows it, or its first eight digits.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept in the home's audit.")]


@review_app.command(name="list")
def list_waiting(context: typer.Context, as_json: Json = False) -> None:
    """List the studies in quarantine and why each is there; pictures lie in the home's quarantine folder.

    Example: `ricord-site review list --json`
    """
    with open_node(context, writing=False) as node:
        items = decisions.waiting(node.home, node.ledger)
    if as_json:
        print_json([item.model_dump(mode="json") for item in items])
        return
    rows = [
        (item.key if first else "", f"{one.code}: {one.message}", " ".join(item.pictures) if first else "")
        for item in items
        for first, one in zip((True, *[False] * len(item.reasons)), item.reasons, strict=False)
    ]
    print_table(f"{len(items)} studies wait for a person", ["Study", "Why", "Pictures"], rows)


@review_app.command()
def release(context: typer.Context, study: Study, reason: Why, as_json: Json = False) -> None:
    """Send a study on: what held it holds it no more, and it goes through every stage again at the next run.

    Example: `ricord-site review release 3f9a01bc --reason "the text is a side marker"`
    """
    with open_node(context) as node:
        key = decisions.release(node.home, node.ledger, study, actor=getpass.getuser(), reason=reason)
    _tell(key, "released", as_json=as_json)


@review_app.command()
def accept(context: typer.Context, study: Study, reason: Why, as_json: Json = False) -> None:
    """The same as `release`, in the words of the screen.

    Example: `ricord-site review accept 3f9a01bc --reason "chest, seen by me"`
    """
    release(context, study, reason, as_json)


@review_app.command()
def reject(context: typer.Context, study: Study, reason: Why, as_json: Json = False) -> None:
    """Leave a study out for good.

    Example: `ricord-site review reject 3f9a01bc --reason "a phantom"`
    """
    with open_node(context) as node:
        key = decisions.reject(node.ledger, study, actor=getpass.getuser(), reason=reason)
    _tell(key, "rejected", as_json=as_json)


@review_app.command()
def audit(context: typer.Context, as_json: Json = False) -> None:
    """Show every decision that was taken, the oldest first.

    Example: `ricord-site review audit`
    """
    with open_node(context, writing=False) as node:
        events = node.ledger.events()
    if as_json:
        print_json([event.model_dump(mode="json") for event in events])
        return
    rows = [(f"{one.at:%Y-%m-%d %H:%M}", one.actor, one.action, one.key, one.detail) for one in events]
    print_table("Decisions", ["When", "Who", "What", "Study", "Why"], rows)


@review_app.command()
def reidentify(
    context: typer.Context,
    pseudonym: Annotated[str, typer.Argument(help="A pseudonym of this site, as 123456-000042.")],
    reason: Why,
    as_json: Json = False,
) -> None:
    """Show which of the hospital's patients stands behind a pseudonym. PHI: on the hospital's terminal only.

    The request, who made it and why are kept in the audit before the answer is shown; the answer is kept nowhere.

    Example: `ricord-site review reidentify 123456-000042 --reason "incidental finding, asked by the curator"`
    """
    with open_node(context, writing=False) as node:
        link, flag = linkage.reidentify(
            node.ledger, node.workshop.pseudonyms, pseudonym, actor=getpass.getuser(), reason=reason
        )
    earlier = link.earlier.pseudonym if link.earlier else None
    if as_json:
        print_json({"issuer": link.issuer, "patient_id": link.patient_id, "earlier": earlier, "flag": flag or None})
        return
    print_line(f"PatientID: {link.patient_id}")
    if link.issuer:
        print_line(f"IssuerOfPatientID: {link.issuer}")
    if earlier:
        print_line(f"Earlier pseudonym: {earlier}" + (f" ({flag})" if flag else ""))


def _tell(key: str, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"study": key, "decision": what})
    else:
        print_line(f"Study {key} is {what}.")
