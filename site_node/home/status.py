"""Counts of everything received: each study and each image in exactly one place."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from shared.frozen import Frozen
from shared.ids import SiteId
from shared.submission_state import SubmissionState
from site_node.home.associations import AssociationCount
from site_node.home.ledger import Ledger, State
from site_node.home.retrieve_requests import RequestCounts
from site_node.study import Ending


class StudyCounts(Frozen):
    """The studies in one place, by the code of the gravest reason (or, where they wait, by state)."""

    total: int
    reasons: dict[str, int]


class Status(Frozen):
    """A site's counts. `received` is the sum of the five places; so is the sum of `instances`."""

    name: str
    site_id: SiteId | None
    received: int
    submitted: int
    excluded: StudyCounts
    quarantined: StudyCounts
    refused: StudyCounts
    waiting: StudyCounts
    instances: dict[str, int]  # images of studies, by place
    files: dict[str, int]  # files that belong to no study, by code
    at_centre: dict[str, StudyCounts]  # submissions by their state there, with the reasons that the curator gave
    requests: RequestCounts  # to the PACS
    associations: tuple[AssociationCount, ...]  # to our SCP, that were refused or aborted
    disk_nearly_full: bool  # nothing is received or processed until there is space


def status_of(ledger: Ledger, *, name: str, site_id: SiteId | None, disk_nearly_full: bool = False) -> Status:
    """Count the ledger."""
    studies = ledger.lead_counts()
    files: Counter[str] = Counter()
    for (_, code), count in ledger.file_counts().items():
        files[code] += count
    return Status(
        name=name,
        site_id=site_id,
        received=studies.total(),
        submitted=sum(count for (state, _), count in studies.items() if state is State.SUBMITTED),
        excluded=_count(studies, Ending.EXCLUDED),
        quarantined=_count(studies, Ending.QUARANTINED),
        refused=_count(studies, Ending.REFUSED),
        waiting=_count(studies, Ending.WAITING),
        instances={ending.value: 0 for ending in Ending} | ledger.instance_counts(),
        files=dict(sorted(files.items())),
        at_centre=_count_at_centre(ledger),
        requests=ledger.requests.counts(),
        associations=ledger.associations.all(),
        disk_nearly_full=disk_nearly_full,
    )


def _count_at_centre(ledger: Ledger) -> dict[str, StudyCounts]:
    totals, codes = Counter[SubmissionState](), defaultdict[SubmissionState, Counter[str]](Counter)
    for (state, reasons), count in ledger.submissions.counts().items():
        totals[state] += count
        for reason in reasons:
            codes[state][reason] += count
    return {
        state.value: StudyCounts(total=totals[state], reasons=dict(sorted(codes[state].items())))
        for state in SubmissionState
        if totals[state]
    }


def _count(studies: Mapping[tuple[State, str], int], ending: Ending) -> StudyCounts:
    codes = Counter[str]()
    for (state, lead), count in studies.items():
        if state.ending is ending:
            codes[state.value if ending is Ending.WAITING else lead] += count
    return StudyCounts(total=codes.total(), reasons=dict(sorted(codes.items())))
