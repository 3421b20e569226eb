"""Submissions: how many came in each week from each site, how large, in which state, and how many are missing."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from coordinator.console.centre import Centre
from coordinator.console.moments import moment_of
from coordinator.operator.answers import plain
from shared.proto.ricord.v1 import submission_pb2 as pb
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.submission_state import SubmissionState
from shared.web.console import Page
from shared.web.drawing import Bar, bars
from shared.web.visit import Answer, Shown, Visit

_WEEKS = 13


class SubmissionPages:
    """The page."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    def pages(self) -> tuple[Page, ...]:
        """What is answered."""
        return (Page("GET", "/submissions", self._page),)

    def _page(self, visit: Visit) -> Answer:
        with self._centre.asking(visit.person) as asking:
            stub = SubmissionServiceStub(asking.channel)
            counted = asking.ask(stub.CountByWeek, pb.CountByWeekRequest(weeks=_WEEKS))
        values = {
            "weeks": _weeks(counted.weeks),
            "sites": _sites(counted),
            "states": [state.value for state in SubmissionState],
        }
        return Shown("submissions.html", values)


def _weeks(counts: Sequence[pb.WeekCount]) -> list[Bar]:
    """A bar for each week with submissions, the oldest first."""
    totals = Counter[str]()
    for each in counts:
        totals[f"{moment_of(each.begins_at):%Y-%m-%d}"] += each.submissions
    return bars(totals.items())


def _sites(counted: pb.CountByWeekResponse) -> list[dict[str, Any]]:
    """A row for each site: its submissions by state, their bytes, how many came lately and did not arrive."""
    states, sizes, recent = defaultdict[str, Counter[str]](Counter), Counter[str](), Counter[str]()
    for each in counted.states:
        states[each.site_id][plain(each)["state"]] += each.submissions
        sizes[each.site_id] += each.bytes
    missing = Counter({each.site_id: each.numbers for each in counted.missing})
    for week in counted.weeks:
        recent[week.site_id] += week.submissions
    return [
        {
            "site_id": site_id,
            "states": by_state,
            "total": by_state.total(),
            "bytes": sizes[site_id],
            "recent": recent[site_id],
            "missing": missing[site_id],
        }
        for site_id, by_state in sorted(states.items())
    ]
