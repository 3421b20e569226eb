"""A disk that is nearly full stops the node and loses nothing; with space again the node goes on."""

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shared.errors.storage import DiskFull, DiskNearlyFull
from site_node.home.folder import SiteHome
from site_node.home.free_space import FreeSpace
from site_node.home.ledger import STATE_ORDER, Ledger, State
from site_node.node.pipeline import Pipeline, Step
from site_node.study import Deidentified, Ending
from tests.factories.pipeline import enter, key_of, make_home, make_stages, make_study


class Disk:
    """A disk that tests fill."""

    def __init__(self) -> None:
        self.free = 1 << 40

    def __call__(self, _folder: Path) -> int:
        return self.free


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    return make_home(tmp_path / "home")


@pytest.fixture
def ledger(home: SiteHome) -> Iterator[Ledger]:
    ledger = Ledger(home.ledger)
    yield ledger
    ledger.close()


def test_the_sentence_says_how_much_and_where(tmp_path: Path) -> None:
    """At the reserve there is enough space, one byte below it there is not."""
    disk = Disk()
    space = FreeSpace(tmp_path, 100, disk)
    disk.free = 100 << 20
    space.check()
    disk.free -= 1
    with pytest.raises(DiskNearlyFull) as caught:
        space.check()
    assert "100 MB" in caught.value.public
    assert str(tmp_path) in caught.value.public
    FreeSpace(tmp_path, 0).check()
    assert FreeSpace(tmp_path, shutil.disk_usage(tmp_path).total >> 20).shortage()


@pytest.mark.parametrize("reached", STATE_ORDER[:-1])
def test_a_full_disk_stops_each_stage_and_space_lets_it_go_on(
    home: SiteHome, ledger: Ledger, tmp_path: Path, reached: State
) -> None:
    """A study stays, whole, where it is when the disk fills, unless it is sealed: sending it frees space."""
    disk, study = Disk(), make_study(home, "good-1")
    enter(home, ledger, study)
    stages = make_stages(home, tmp_path / "submitted")
    pipeline = Pipeline(home, ledger, stages, shortage=FreeSpace(home.folder, 1, disk).shortage)
    pipeline.run(reached)
    disk.free = 0
    progress = pipeline.run()
    if reached is State.SEALED:
        assert (progress.blocked, ledger.study(study.key).state) == (None, State.SUBMITTED)
        return
    assert isinstance(progress.blocked, DiskNearlyFull)
    assert (progress.moved, ledger.study(study.key).state) == (0, reached)
    assert all(instance.path.exists() for instance in study.instances)
    disk.free = 1 << 40
    assert pipeline.run().blocked is None
    assert ledger.study(study.key).state is State.SUBMITTED


def test_a_disk_that_fills_within_a_stage_blocks_the_node(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """Wherever the stage meets it: it is no defect, and no study ends for it."""
    study = make_study(home, "good-1")
    enter(home, ledger, study)

    def fail(*_: object) -> Deidentified:
        raise OSError(errno.ENOSPC, "No space left on device")

    stages = make_stages(home, tmp_path / "submitted")
    with pytest.raises(DiskFull):
        Pipeline(home, ledger, replace(stages, deidentify=fail)).run()
    assert ledger.study(study.key).state is State.INCLUDED
    assert Pipeline(home, ledger, stages).run().blocked is None
    assert ledger.study(study.key).state is State.SUBMITTED


def test_a_disk_that_fills_under_the_ledger_blocks_the_node(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """The change is rolled back whole, and the ledger can be changed again once there is space."""
    study = make_study(home, "good-1")
    enter(home, ledger, study)
    ledger._db.execute("pragma max_page_count = 1")  # SQLite takes as many as there are, and no more
    with pytest.raises(DiskFull):
        ledger.add_files([(f"{number}", Ending.REFUSED, "not-dicom") for number in range(10_000)])
    assert ledger.file_counts() == {}
    ledger._db.execute("pragma max_page_count = 1000000")
    ledger.add_files([("1", Ending.REFUSED, "not-dicom")])
    assert ledger.study(study.key).state is State.RECEIVED


def test_leftovers_of_killed_processes_are_removed(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """At once where only the node writes, after an hour where a command may be writing now."""
    study = make_study(home, "good-1")
    enter(home, ledger, study)
    own = [folder / ".x.0123.tmp" for folder in (home.outbox, home.receipts, home.reports, home.work(study.key))]
    others = [folder / ".x.0123.tmp" for folder in (home.folder, home.clinical, home.quarantine, home.keys)]
    for file in (*own, *others):
        file.write_bytes(b"half")
    pipeline = Pipeline(home, ledger, make_stages(home, tmp_path / "submitted"))
    pipeline.run(State.INCLUDED)
    assert [file.exists() for file in (*own, *others)] == [False] * 4 + [True] * 4
    for file in others:
        os.utime(file, (0, 0))
    pipeline.run(State.INCLUDED)
    assert not any(file.exists() for file in others)


def test_a_disk_that_fills_in_a_pass_stops_before_the_next_stage(
    home: SiteHome, ledger: Ledger, tmp_path: Path
) -> None:
    """Free space is checked before each stage, not once a pass."""
    disk = Disk()
    enter(home, ledger, make_study(home, "good-1"))

    def fill(_key: str, step: Step) -> None:
        disk.free = 0 if step.reached is State.DEIDENTIFIED else disk.free

    stages = make_stages(home, tmp_path / "submitted")
    Pipeline(home, ledger, stages, report=fill, shortage=FreeSpace(home.folder, 1, disk).shortage).run()
    assert ledger.study(key_of("good-1")).state is State.DEIDENTIFIED
