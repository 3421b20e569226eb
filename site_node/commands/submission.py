"""`submission`: what the coordinator received from this site."""

from typing import Annotated

import typer

from shared.errors.base import ExitCode
from shared.errors.trust import NotEnrolled
from shared.ids import Sha256
from shared.terminal import make_app, print_json, print_line, print_table
from shared.wire import from_timestamp
from site_node.commands.options import Json, node_of
from site_node.membership.record import Membership
from site_node.node.open import Node
from site_node.submit.comparison import compare, own_rows
from site_node.submit.states import fetch_states

submission = make_app("Show what the coordinator received from this site, and compare it with the receipts held here.")


@submission.command("list")
def list_submissions(
    context: typer.Context,
    after: Annotated[int, typer.Option(min=0, help="What came after the submission of this number.")] = 0,
    limit: Annotated[int, typer.Option(min=0, help="So many at most; 0: all.")] = 0,
    as_json: Json = False,
) -> None:
    """List what the coordinator holds of this site, and what the curator has decided on each study, with its reasons.

    What leaves the hospital: the question. The coordinator tells a site its own submissions only.

    Example: `ricord-site submission list --limit 100`
    """
    with node_of(context, writing=False) as node:
        membership = _membership(node)
        received = list(own_rows(membership, after=after, limit=limit))
        fetch_states(node.home, node.ledger, membership)
        states = {each.submission: each for each in node.ledger.submissions.all()}
    rows = [
        {
            "number": row.number,
            "submission": row.id,
            "study": row.study,
            "sequence": row.sequence,
            "agreement_version": row.agreement_version,
            "ciphertext_size": row.ciphertext_size,
            "received_at": from_timestamp(row.received_at).isoformat(),
            "state": states[Sha256(row.id)].state if row.id in states else "unknown",
            "reasons": "; ".join(states[Sha256(row.id)].reasons) if row.id in states else "",
        }
        for row in received
    ]
    if as_json:
        print_json(rows)
    else:
        columns = ("number", "sequence", "study", "received_at", "state")
        headings = ["Number", "Sequence", "Study", "Received", "State", "Why"]
        shown = [{**row, "received_at": str(row["received_at"])[:16].replace("T", " ")} for row in rows]
        print_table("Received", headings, [[row[column] for column in (*columns, "reasons")] for row in shown])


@submission.command()
def verify(context: typer.Context, as_json: Json = False) -> None:
    """Compare each receipt that is held here with the coordinator's row, and name every difference.

    What leaves the hospital: the question. Exit code 3 where something differs.

    Example: `ricord-site submission verify`
    """
    with node_of(context, writing=False) as node:
        comparison = compare(node.home, _membership(node))
    if as_json:
        print_json(comparison)
    else:
        for difference in comparison.differences:
            print_line(f"{difference}.")
        different = len(comparison.differences) or "no"
        print_line(f"{comparison.receipts} receipts here, {comparison.rows} rows there, {different} differences.")
    if comparison.differences:
        raise typer.Exit(ExitCode.PARTIAL)


def _membership(node: Node) -> Membership:
    if node.membership is None:
        raise NotEnrolled(folder=str(node.home.folder))
    return node.membership
