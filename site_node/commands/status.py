"""`status`: count every study, image and file by place, and say what waits for whom."""

from collections.abc import Mapping

import typer

from shared.terminal import print_json, print_line, print_table
from site_node.commands.options import Json, node_of
from site_node.commands.reason_table import print_reasons
from site_node.home.retrieve_requests import RequestCounts
from site_node.home.status import status_of
from site_node.membership.witness import Witness
from site_node.node.standing import standing_of_edition
from site_node.node.waits import federated_work, waits_of


def status(context: typer.Context, as_json: Json = False) -> None:
    """Show where every study, image and file that was received is now, why, and what you can do.

    Also what waits, for whom and since when, and whether a node is running here.

    Counts and codes only: no identifier of a patient is in the answer.

    Example: `ricord-site status --json`
    """
    with node_of(context, writing=False) as node:
        site_id = node.membership.site_id if node.membership else None
        short = node.free_space.shortage()
        counts = status_of(node.ledger, name=node.settings.name, site_id=site_id, disk_nearly_full=short is not None)
        running = node.home.is_served()
        edition = standing_of_edition(node)
        contradiction = Witness(node.home).contradiction()
        waits, federation = waits_of(node, running=running), federated_work(node, running=running)
    if as_json:
        more = {
            "waits": waits,
            "federation": federation,
            "node_running": running,
            "contradiction": contradiction,
            "edition": edition,
        }
        print_json({**counts.model_dump(mode="json"), **more})
        return
    if short:
        print_line(short.public)
    print_line(edition)
    if contradiction:
        print_line(contradiction.error.public)
    rows = [("received", counts.received, ""), ("submitted", counts.submitted, "")]
    places = [("excluded", counts.excluded), ("quarantined", counts.quarantined), ("refused", counts.refused)]
    rows += [(name, place.total, _why(place.reasons)) for name, place in [*places, ("waiting", counts.waiting)]]
    title = f"{counts.name}, SITEID {counts.site_id or 'not issued yet'}: studies"
    print_table(title, ["Place", "Studies", "Why"], rows)
    if counts.at_centre:
        there = [(state, place.total, _why(place.reasons)) for state, place in counts.at_centre.items()]
        print_table("Submissions at the centre", ["State", "Submissions", "Why"], there)
    print_table("Images", ["Place", "Images"], counts.instances.items())
    if counts.files:
        print_table("Files that are part of no study", ["Code", "Files"], counts.files.items())
    _print_requests(counts.requests)
    if counts.associations:
        ends = [
            (f"{end.last_at.astimezone():%Y-%m-%d %H:%M}", end.reason, end.called, end.calling, end.count)
            for end in counts.associations
        ]
        print_table("Associations refused or aborted", ["Last", "Reason", "Called", "Calling", "How many"], ends)
    codes = [code for _, place in places for code in place.reasons]
    if waits:
        waiting = [(wait.whom, wait.count, f"{wait.since.astimezone():%Y-%m-%d %H:%M}", wait.next) for wait in waits]
        print_table("What waits", ["For whom", "How many", "Since", "Next"], waiting)
    print_line("A node is running." if running else "No node is running.")
    kinds = ", ".join(federation.modes) or "none"
    print_line(f"Federated work: {kinds}; {federation.next}.")
    print_reasons("Why, and what you can do", sorted({*codes, *counts.files, *counts.requests.reasons}))


def _print_requests(requests: RequestCounts) -> None:
    if requests.states:
        images = [("announced", requests.announced), ("arrived", requests.arrived), ("failed", requests.failed)]
        print_table("Images asked of the PACS", ["", "Images"], [*images, ("still expected", requests.expected)])
        states = [(state, count, _why(requests.reasons_by_state[state])) for state, count in requests.states.items()]
        print_table("Requests to the PACS", ["State", "Requests", "Why"], states)


def _why(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{code} {count}" for code, count in reasons.items())
