"""The site's memory of the rounds it answered."""

import stat
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors.federation import RunRefused
from shared.ids import RunId
from site_node.federate.rounds import ATTEMPTS, claim_round

RUNS = [RunId.random() for _ in range(2)]
ASKED = st.tuples(st.sampled_from(RUNS), st.sampled_from(["train", "evaluate", "mask"]), st.integers(0, 2))


def claimed(folder: Path, run: RunId, kind: str, server_round: int) -> bool:
    """Whether the claim was granted."""
    try:
        claim_round(folder, run, kind, server_round)
    except RunRefused:
        return False
    return True


@given(st.lists(ASKED, max_size=40))
@settings(max_examples=30, deadline=None)
def test_each_round_is_granted_once_and_retried_once(asked: list[tuple[RunId, str, int]]) -> None:
    """In whatever order they are asked, each (run, kind, round) is granted the first two times and no other."""
    counts: Counter[tuple[RunId, str, int]] = Counter()
    with TemporaryDirectory() as folder:
        for each in asked:
            counts[each] += 1
            assert claimed(Path(folder), *each) == (counts[each] <= ATTEMPTS)


def test_of_many_claims_at_once_two_are_granted(tmp_path: Path) -> None:
    """The markers are made exclusively, and only their owner can read them."""
    with ThreadPoolExecutor(4) as pool:
        granted = pool.map(lambda _: claimed(tmp_path, RUNS[0], "train", 1), range(20))
    assert sum(granted) == ATTEMPTS
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.rglob("*.[12]")} == {0o600}


@pytest.mark.parametrize("kind", ["train", "train-mask"])
def test_a_run_whose_test_was_seen_trains_no_more(tmp_path: Path, kind: str) -> None:
    """The test patients come last: after them no model of that run is trained here, of others it is."""
    assert claimed(tmp_path, RUNS[0], kind, 1)
    assert claimed(tmp_path, RUNS[0], "evaluate-mask", 1)
    assert claimed(tmp_path, RUNS[0], "evaluate.best-mask", 0)
    assert not claimed(tmp_path, RUNS[0], kind, 2)
    assert claimed(tmp_path, RUNS[0], "evaluate.last-mask", 0)
    assert claimed(tmp_path, RUNS[1], kind, 2)


@pytest.mark.parametrize("kind", ["../../train", "", "query", "train/x"])
def test_a_kind_without_a_name_is_no_file(tmp_path: Path, kind: str) -> None:
    """A name from outside never becomes a path."""
    with pytest.raises(RunRefused):
        claim_round(tmp_path, RUNS[0], kind, 1)
    assert not list(tmp_path.iterdir())
