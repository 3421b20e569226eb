"""Laws of the site's memory on disk."""

import os
import stat
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.errors.federation import RunRefused, SecureSumRefused
from shared.federation.secure_sum.memory import FileMemory
from shared.federation.secure_sum.messages import Answered
from shared.federation.secure_sum.server import secure_sum
from tests.factories.summing import federation, sites, true_sum

SESSION = "ab" * 16


def test_a_stage_is_claimed_once_for_ever(tmp_path: Path) -> None:
    """Of many claims at once one succeeds, and none after a restart."""
    memory = FileMemory(tmp_path)

    def claim(_: int) -> bool:
        try:
            memory.claim(SESSION, "unmask")
        except SecureSumRefused:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(claim, range(20))) == 1
    with pytest.raises(SecureSumRefused):
        FileMemory(tmp_path).claim(SESSION, "unmask")
    FileMemory(tmp_path).claim(SESSION, "mask")
    FileMemory(tmp_path).claim("cd" * 16, "unmask")


def test_secrets_are_the_owners_alone_and_can_be_wiped(tmp_path: Path) -> None:
    """State survives a restart in a file of mode 600; a wipe removes it, but not the claims."""
    memory = FileMemory(tmp_path)
    memory.claim(SESSION, "advertise")
    memory.save(SESSION, b"one")
    memory.save(SESSION, b"two")
    assert FileMemory(tmp_path).load(SESSION) == b"two"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    memory.wipe_stale(age=timedelta(hours=1))
    assert memory.load(SESSION) == b"two"
    memory.wipe_stale(age=timedelta(seconds=-1))
    memory.wipe(SESSION)  # again: nothing is left
    with pytest.raises(SecureSumRefused):
        memory.load(SESSION)
    with pytest.raises(SecureSumRefused):
        memory.claim(SESSION, "advertise")


def test_what_a_kill_left_half_written_is_cleared(tmp_path: Path) -> None:
    """With its session, with stale secrets, and with the next answer on its subject; folders are the owner's alone."""
    memory = FileMemory(tmp_path)
    memory.save(SESSION, b"secrets")
    memory.remember("x", [Answered(roster=tuple(sites(3)))], lambda previous: None)
    session, [answers] = tmp_path / "sessions" / SESSION, (tmp_path / "answered").glob("*.jsonl")
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (session, answers.parent)} == {0o700}
    assert stat.S_IMODE(answers.stat().st_mode) == 0o600
    halves = [path.with_name(f".{path.name}.0123456789ab.tmp") for path in (session / "state", answers)]
    for half in halves:
        half.write_bytes(b"half")
    memory.wipe_stale(age=timedelta(hours=1))
    assert [half.exists() for half in halves] == [True, True]
    memory.wipe_stale(age=timedelta(seconds=-1))
    assert [half.exists() for half in halves] == [False, True]
    memory.remember("x", [Answered(roster=tuple(sites(4)))], lambda previous: None)
    assert [half.exists() for half in halves] == [False, False]
    halves[0].write_bytes(b"half")
    memory.wipe(SESSION)
    assert not halves[0].exists()


@pytest.mark.parametrize(("minutes", "there"), [(-1, True), (1, False)])
def test_secrets_live_as_long_as_a_plan(tmp_path: Path, minutes: int, *, there: bool) -> None:
    """Two days after the last stage they go."""
    memory = FileMemory(tmp_path)
    memory.save(SESSION, b"secrets")
    state = tmp_path / "sessions" / SESSION / "state"
    moment = (datetime.now(UTC) - timedelta(days=2, minutes=minutes)).timestamp()
    os.utime(state, (moment, moment))
    memory.wipe_stale()
    assert state.exists() is there


def test_of_two_answers_at_once_the_second_is_judged_by_the_first(tmp_path: Path) -> None:
    """Neither is lost, and nothing is remembered between the judgement of an answer and its memory."""
    first, second = (Answered(roster=tuple(sites(count))) for count in (3, 4))
    judged, seen = threading.Event(), list[Sequence[Answered]]()

    def allow(previous: Sequence[Answered]) -> None:
        seen.append(previous)
        judged.set()

    later = threading.Thread(target=FileMemory(tmp_path).remember, args=("x", [second], allow))

    def meanwhile(_: Sequence[Answered]) -> None:
        later.start()
        assert not judged.wait(0.1)

    try:
        FileMemory(tmp_path).remember("x", [first], meanwhile)
    finally:
        later.join()
    assert seen == [(first,)]
    assert FileMemory(tmp_path).answered("x") == (first, second)


def test_a_session_that_ends_while_stale_ones_are_wiped_is_passed_over(tmp_path: Path) -> None:
    """Its secrets were there a moment ago; the others' are wiped all the same."""
    memory = FileMemory(tmp_path)
    memory.save(SESSION, b"secrets")
    for other in ("00" * 16, "ff" * 16):
        (tmp_path / "sessions" / other).mkdir()
        (tmp_path / "sessions" / other / "state").symlink_to("vanished")
    memory.wipe_stale(age=timedelta(seconds=-1))
    with pytest.raises(SecureSumRefused):
        memory.load(SESSION)


def test_a_stage_without_a_name_is_no_file(tmp_path: Path) -> None:
    """Only the five stages can be claimed, so a name from outside never becomes a path."""
    with pytest.raises(SecureSumRefused):
        FileMemory(tmp_path).claim(SESSION, "../state")


def test_answers_are_remembered_by_subject(tmp_path: Path) -> None:
    """An allowed answer is kept once; one that is not allowed leaves nothing behind."""
    memory, answer = FileMemory(tmp_path), Answered(roster=tuple(sites(3)), survivors=tuple(sites(3)))
    memory.remember("x", [answer], lambda previous: None)
    memory.remember("x", [answer], lambda previous: None)

    def refuse(previous: object) -> None:
        raise RunRefused(problem="no")

    with pytest.raises(RunRefused):
        memory.remember("x", [answer.model_copy(update={"survivors": ()})], refuse)
    assert FileMemory(tmp_path).answered("x") == (answer,)
    assert memory.answered("y") == ()


def test_a_session_over_files_is_exact(tmp_path: Path) -> None:
    """A session whose sites keep their state on disk between stages gives the exact sum."""
    carrier = federation(4, lost=[("mask", sites(4)[1])])
    carrier.memories = {site: FileMemory(tmp_path / site) for site in sites(4)}
    result = secure_sum(carrier.plan(), carrier)
    assert (result.total == true_sum(carrier.vectors[site] for site in result.survivors)).all()
    assert not [path for path in tmp_path.rglob("state") if path.parent.parent.parent.name != sites(4)[1]]
