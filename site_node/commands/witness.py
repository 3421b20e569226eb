"""`witness`: whether the coordinator's audit log still contains everything that it signed for this site."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from shared.counts import counted
from shared.terminal import make_app, print_json, print_line
from site_node.backup.restore import SECOND_PSEUDONYMS, missing
from site_node.backup.restore import resume as resume_restored
from site_node.backup.returning import return_receipts
from site_node.commands.options import Json, Person, home_of, node_of
from site_node.home.words import NO_STUDY
from site_node.membership import proof
from site_node.membership.record import load_membership
from site_node.membership.witness import Witness

witness = make_app("Have the coordinator prove that its audit log only grew; `run` does so each day.")


@witness.command()
def show(context: typer.Context, as_json: Json = False) -> None:
    """Show the last head of the log that was verified, and what stops the sending if its log contradicts it.

    Two hospitals that compare this line see whether they are shown the same log.

    Example: `ricord-site witness show`
    """
    home = home_of(context)
    kept, contradiction = Witness(home), Witness(home).contradiction()
    head, witnessed = kept.head(load_membership(home).coordinator_key), kept.witnessed()
    if as_json:
        at = witnessed.proven_at if witnessed else None
        print_json({"head": head, "proven_at": at, "contradiction": contradiction})
        return
    if head is None or witnessed is None:
        print_line("The coordinator has proven nothing yet.")
    else:
        print_line(f"{head.size} entries, root {head.root}, proven {witnessed.proven_at:%Y-%m-%d %H:%M} UTC.")
    kept.check()


@witness.command("ask")
def ask_now(context: typer.Context, as_json: Json = False) -> None:
    """Ask for the proof now. Sent: how many entries are known here, and the numbers of those in receipts.

    Exit code 4: the log does not contain what was signed before; nothing is sent from then on.

    Example: `ricord-site witness ask`
    """
    home = home_of(context)
    head = proof.ask(home, load_membership(home), datetime.now(UTC))
    if as_json:
        print_json(head)
    else:
        print_line(f"The log has {head.size} entries, everything that is known here among them.")


@witness.command()
def resume(
    context: typer.Context,
    reason: Annotated[str, typer.Option("--reason", help="What the coordinator said; it is kept in the audit.")],
    person: Person = "",
    as_json: Json = False,
) -> None:
    """Let the node go on after the coordinator has said why its log is another, or after this home was restored.

    The evidence of another log stays in the home. The log as it is now is believed, and no receipt of before is asked
    for any more. Receipts of studies that the coordinator lists no more are returned to it, and these studies are sent
    again once their images are received again.

    A restored home asks the coordinator for its own submissions, and numbers new patients and studies above those.
    Nothing else leaves. A patient who was numbered since the backup may get a second pseudonym.

    Example: `ricord-site witness resume --as "A. Miller" --reason "database restored from the backup of 1 May"`
    """
    with node_of(context, writing=False) as node:
        kept, made_at = Witness(node.home), node.ledger.restoration.made_at
        highest = resume_restored(node.home, node.ledger, node.membership, person, reason) if made_at else None
        contradiction, returned = kept.contradiction(), list[str]()
        if contradiction is not None:
            returned = return_receipts(node.home, node.ledger, load_membership(node.home))
            node.ledger.audit(person, "witness-resume", NO_STUDY, f"{contradiction.problem}: {reason}")
        if contradiction is not None or not made_at:
            node.ledger.restoration.forget_audit_numbers()
            kept.resume()
        absent = missing(node.home, node.ledger) if made_at else {}
    if as_json:
        print_json(
            {"resumed": contradiction, "restored": made_at, "highest": highest, "missing": absent, "lost": returned}
        )
        return
    if highest is not None:
        known = f"patient {highest.patients} and study {highest.sequences}, the highest known elsewhere"
        print_line(f"The home of the backup of {made_at} goes on above {known}. {SECOND_PSEUDONYMS}")
    for state, count in absent.items():
        print_line(f"{counted(count, 'study', 'has')} no files here and cannot go on from {state}: copy `work/` back.")
    if returned:
        print_line(f"{counted(len(returned), 'study', 'was')} lost at the coordinator: receive the images again.")
    if contradiction is not None:
        print_line("Sending goes on; the node asks the coordinator anew.")
