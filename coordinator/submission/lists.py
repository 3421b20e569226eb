"""What was received, as people and programs ask for it: lists in pages, and one submission by its name."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple

from coordinator.agreements.lookup import named_site_id
from coordinator.home.identity import Clock, utc_now
from coordinator.store.interface import Store
from coordinator.store.paging import read_page
from coordinator.store.records import ListedSubmission, SequenceFault, SiteTally, Submission, SubmissionTally
from coordinator.submission.lookup import named_submission
from shared.errors.inputs import InvalidArgument
from shared.frozen import LARGEST_NUMBER
from shared.ids import SiteId

PAGE = 1000  # submissions
MOST_WEEKS = 104
_WEEK = timedelta(weeks=1)


class Page(NamedTuple):
    """A part of a list; `next` is what the rest comes after, 0 where there is none."""

    rows: Sequence[ListedSubmission]
    next: int


class WeekCounts(NamedTuple):
    """Submissions by the Monday of their week in UTC and by state, and by site how many numbers did not arrive."""

    weeks: Mapping[datetime, Sequence[SiteTally]]
    states: Sequence[SubmissionTally]
    missing: Mapping[str, int]


class SubmissionLists:
    """Submissions by page and by name."""

    def __init__(self, store: Store, clock: Clock = utc_now) -> None:
        self._store = store
        self._now = clock

    def page(self, *, site: str, curator: str | None, after: int, limit: int, by_change: bool = False) -> Page:
        """What was received after the submission of that number, oldest first, at most `limit` (0: a whole page).

        With `by_change`, what changed its state after the change of that number, in the order of the last changes.
        With a `curator`, only what is sealed to that curator, who names a site by its SITEID; else `site` is named as
        people name it. Raises `NotFound`, `AmbiguousReference`, `InvalidIdentifier`.
        """
        after = min(after, LARGEST_NUMBER)
        with self._store.read() as reading:
            site_id = None if not site else SiteId(site) if curator else named_site_id(reading, site)
            rows, more = read_page(
                lambda limit: reading.listed_submissions(
                    site_id=site_id, curator=curator, after=after, limit=limit, by_change=by_change
                ),
                limit,
                PAGE,
            )
        last = rows[-1] if more else None
        return Page(rows, (last.changed if by_change else last.number) if last else 0)

    def sequence_faults(self, *, site: str, after: str, limit: int) -> tuple[Sequence[SequenceFault], str]:
        """Missing and repeated sequence numbers of a site or all, at most `limit` (0: a whole page).

        With them what the rest comes after, empty where there is none. Raises as `page` does, and `InvalidArgument`.
        """
        last = re.fullmatch(r"([0-9]{6}):([0-9]{1,19})", after or "000000:0")
        if last is None:
            raise InvalidArgument(name="after", problem="give what the page before named as its next")
        place = last[1], min(int(last[2]), LARGEST_NUMBER)
        with self._store.read() as reading:
            site_id = named_site_id(reading, site) if site else None
            rows, more = read_page(
                lambda limit: reading.sequence_faults(site_id, after=place, limit=limit), limit, PAGE
            )
        return rows, f"{rows[-1].site_id}:{rows[-1].sequence}" if more else ""

    def by_week(self, weeks: int) -> WeekCounts:
        """What each site sent in the last weeks, how many are in which state, and how many did not arrive.

        Raises `InvalidArgument` for none or too many.
        """
        if not 1 <= weeks <= MOST_WEEKS:
            raise InvalidArgument(name="weeks", problem=f"ask for 1 to {MOST_WEEKS}")
        today = self._now().astimezone(UTC).date()
        monday = datetime.combine(today - timedelta(days=today.weekday()), time(), UTC)
        mondays = [monday - number * _WEEK for number in reversed(range(weeks))]
        with self._store.read() as reading:
            return WeekCounts(
                weeks={each: reading.received_between(each, each + _WEEK) for each in mondays},
                states=reading.submission_tally(),
                missing={site_id: count for site_id, count in reading.missing_numbers().items() if count},
            )

    def submission(self, reference: str, *, curator: str | None = None) -> Submission:
        """One of them; raises as `named_submission` does."""
        with self._store.read() as reading:
            return named_submission(reading, reference, curator=curator)
