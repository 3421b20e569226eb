"""What did not arrive, and what came more than once, in both databases: with what arrived they make the whole."""

import random
from collections import Counter

import pytest

from coordinator.store.records import SequenceFault
from coordinator.store.sql import SqlStore
from shared.ids import SiteId
from shared.submission_state import SubmissionState
from tests.factories.rows import make_submission

SITES = (SiteId("100001"), SiteId("100002"), SiteId("999999"))


def enter(store: SqlStore, numbers: list[tuple[SiteId, int]]) -> None:
    with store.begin() as work:
        for number, (site, sequence) in enumerate(numbers, start=1):
            work.add_submission(make_submission(number, site).model_copy(update={"sequence": sequence}))


def faults_of(store: SqlStore, site: SiteId | None, *, size: int) -> list[SequenceFault]:
    """Page after page."""
    listed, after = list[SequenceFault](), ("", 0)
    with store.read() as reading:
        while page := reading.sequence_faults(site, after=after, limit=size):
            listed += page
            after = page[-1].site_id, page[-1].sequence
    return listed


@pytest.mark.parametrize("seed", range(5))
def test_gaps_and_arrivals_make_the_whole(store: SqlStore, seed: int) -> None:
    """Missing and arrived are together exactly 1 to each site's highest, and each repeat has its count."""
    draw = random.Random(seed)
    numbers = [(draw.choice(SITES), draw.randint(1, 40)) for _ in range(60)]
    enter(store, numbers)
    counts = Counter(numbers)
    for site in (None, *SITES):
        faults = faults_of(store, site, size=draw.randint(1, 9))
        assert [(fault.site_id, fault.sequence) for fault in faults] == sorted(
            {(fault.site_id, fault.sequence) for fault in faults}
        )
        for of_site in [site] if site else SITES:
            mine = [fault for fault in faults if fault.site_id == of_site]
            arrived = {sequence for owner, sequence in numbers if owner == of_site}
            missing = {
                number for fault in mine if fault.follows_gap for number in range(fault.previous + 1, fault.sequence)
            }
            assert missing | arrived == set(range(1, max(arrived) + 1))
            assert not missing & arrived
            repeats = {fault.sequence: fault.times for fault in mine if fault.times > 1}
            assert repeats == {number: counts[of_site, number] for number in arrived if counts[of_site, number] > 1}


def test_the_highest_number_is_held(store: SqlStore) -> None:
    """One fault stands for however many are missing."""
    enter(store, [(SITES[0], 2**63 - 1)])
    assert faults_of(store, None, size=10) == [SequenceFault(SITES[0], 2**63 - 1, 1, 0)]


@pytest.mark.parametrize("seed", range(3))
def test_how_many_are_missing_is_what_the_faults_name(store: SqlStore, seed: int) -> None:
    """For each site that has sent anything, whatever came more than once."""
    draw = random.Random(seed)
    enter(store, [(draw.choice(SITES), draw.randint(1, 40)) for _ in range(60)])
    faults = faults_of(store, None, size=100)
    with store.read() as reading:
        missing = reading.missing_numbers()
    assert missing == {
        site: sum(fault.sequence - fault.previous - 1 for fault in faults if fault.site_id == site) for site in SITES
    }


def test_submissions_are_counted_by_site_and_state(store: SqlStore) -> None:
    """Each once, with the bytes of its ciphertext; and nothing is said of a site that sent nothing."""
    with store.read() as reading:
        assert (reading.submission_tally(), reading.missing_numbers(), reading.run_tally()) == ([], {}, {})
    kept = [make_submission(number, SITES[number % 2]) for number in range(1, 12)]
    kept = [
        each.model_copy(update={"state": SubmissionState.ACCEPTED}) if n % 3 else each for n, each in enumerate(kept)
    ]
    with store.begin() as work:
        for each in kept:
            work.add_submission(each)
    counts, sizes = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for each in kept:
        counts[each.site_id, each.state] += 1
        sizes[each.site_id, each.state] += each.ciphertext_size
    with store.read() as reading:
        tallies = reading.submission_tally()
    assert [(t.site_id, t.state, t.submissions, t.bytes) for t in tallies] == [
        (*key, counts[key], sizes[key]) for key in sorted(counts)
    ]
