"""Where everything that entered is now, counted: each study and each image in exactly one place."""

from collections import Counter

from shared.frozen import Frozen
from shared.ids import SiteId
from site_node.home.ledger import Ledger, State, StudyEntry
from site_node.home.retrieve_requests import RequestCounts
from site_node.study import Ending


class Place(Frozen):
    """How many studies are in one place, by the code of the gravest reason (or, where they wait, by state)."""

    total: int
    reasons: dict[str, int]


class Status(Frozen):
    """A site's counts. `received` is the sum of the five places; so is the sum of `instances`."""

    name: str
    site_id: SiteId | None
    received: int
    submitted: int
    excluded: Place
    quarantined: Place
    refused: Place
    waiting: Place
    instances: dict[str, int]  # images of studies, by where they are
    files: dict[str, int]  # files that became part of no study, by code
    requests: RequestCounts  # to the PACS
    disk_nearly_full: bool  # nothing is taken in or worked on until there is room


def status_of(ledger: Ledger, *, name: str, site_id: SiteId | None, disk_nearly_full: bool = False) -> Status:
    """Count the ledger."""
    studies = ledger.studies()
    files: Counter[str] = Counter()
    for (_, code), count in ledger.file_counts().items():
        files[code] += count
    return Status(
        name=name,
        site_id=site_id,
        received=len(studies),
        submitted=sum(entry.state is State.SUBMITTED for entry in studies),
        excluded=_place(studies, Ending.EXCLUDED),
        quarantined=_place(studies, Ending.QUARANTINED),
        refused=_place(studies, Ending.REFUSED),
        waiting=_place(studies, Ending.WAITING),
        instances={ending.value: ledger.instance_counts().get(ending.value, 0) for ending in Ending},
        files=dict(sorted(files.items())),
        requests=ledger.requests.counts(),
        disk_nearly_full=disk_nearly_full,
    )


def _place(studies: tuple[StudyEntry, ...], ending: Ending) -> Place:
    there = [entry for entry in studies if entry.state.ending is ending]
    codes = Counter(entry.state.value if ending is Ending.WAITING else entry.lead for entry in there)
    return Place(total=len(there), reasons=dict(sorted(codes.items())))
