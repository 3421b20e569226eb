"""`status`: where everything is."""

import typer

from shared.terminal import print_json, print_line, print_table
from site_node.commands.options import Json, node_of
from site_node.home.status import Place, status_of


def status(context: typer.Context, as_json: Json = False) -> None:
    """Show where every study, image and file that entered is now, and why.

    Counts and codes only: no identifier of a patient is in the answer.

    Example: `ricord-site status --json`
    """
    with node_of(context, writing=False) as node:
        site_id = node.membership.site_id if node.membership else None
        short = node.free_space.shortage()
        found = status_of(node.ledger, name=node.settings.name, site_id=site_id, disk_nearly_full=short is not None)
    if as_json:
        print_json(found)
        return
    if short:
        print_line(short.public)
    rows = [("received", found.received, ""), ("submitted", found.submitted, "")]
    places = {
        "excluded": found.excluded,
        "quarantined": found.quarantined,
        "refused": found.refused,
        "waiting": found.waiting,
    }
    rows += [(name, place.total, _why(place)) for name, place in places.items()]
    print_table(f"{found.name}, SITEID {found.site_id or 'not issued yet'}: studies", ["Place", "Studies", "Why"], rows)
    print_table("Images", ["Place", "Images"], found.instances.items())
    if found.files:
        print_table("Files that are part of no study", ["Code", "Files"], found.files.items())
    asked = found.requests
    if asked.states:
        counts = [("announced", asked.announced), ("arrived", asked.arrived), ("failed", asked.failed)]
        print_table("Images asked of the PACS", ["", "Images"], [*counts, ("still expected", asked.expected)])
        states = [*asked.states.items(), *asked.reasons.items()]
        print_table("Requests to the PACS", ["State or reason", "Requests"], states)


def _why(place: Place) -> str:
    return ", ".join(f"{code} {count}" for code, count in place.reasons.items())
