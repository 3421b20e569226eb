"""Laws of the site's memory on disk."""

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
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
    with pytest.raises(SecureSumRefused):
        memory.load(SESSION)
    with pytest.raises(SecureSumRefused):
        memory.claim(SESSION, "advertise")


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
