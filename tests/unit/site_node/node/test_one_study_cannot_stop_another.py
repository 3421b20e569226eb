"""A study goes through the stages, and an error of one study does not affect another."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import pytest

from shared.errors.agreements import StudyQuotaReached
from shared.errors.base import RicordError
from shared.errors.storage import DiskFull
from shared.errors.studies import ManifestInvalid
from shared.errors.transport import CoordinatorUnreachable
from shared.errors.trust import ReceiptInvalid
from site_node.blanking import Blanking
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.node.pipeline import Pipeline
from site_node.node.stages import Stages
from site_node.study import Deidentified, Included, Refused, Sealed, Submitted
from tests.factories.pipeline import enter, key_of, make_home, make_stages, make_study

NAMES = ("good-1", "good-2", "partly-3", "excluded-4", "review-5", "refused-6", "burned-7", "leaking-8", "defect-9")
ENDS = {
    "good-1": State.SUBMITTED,
    "good-2": State.SUBMITTED,
    "partly-3": State.SUBMITTED,
    "excluded-4": State.EXCLUDED,
    "review-5": State.QUARANTINED,
    "refused-6": State.REFUSED,
    "burned-7": State.QUARANTINED,
    "leaking-8": State.REFUSED,
    "defect-9": State.QUARANTINED,
}


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    return make_home(tmp_path / "home")


@pytest.fixture
def ledger(home: SiteHome) -> Iterator[Ledger]:
    ledger = Ledger(home.ledger)
    yield ledger
    ledger.close()


def states(ledger: Ledger) -> dict[str, State]:
    return {name: ledger.study(key_of(name)).state for name in NAMES if ledger.has_study(key_of(name))}


def test_every_study_ends_in_its_place(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """Each of nine studies, one of which raises an unforeseen error, ends where it should; none stops another."""
    enter(home, ledger, *(make_study(home, name) for name in NAMES))
    stages = make_stages(home, tmp_path / "submitted")
    progress = Pipeline(home, ledger, stages).run()
    assert states(ledger) == ENDS
    assert progress.blocked is None
    assert progress.moved == len(NAMES)
    assert ledger.instance_counts() == {"excluded": 3, "quarantined": 6, "refused": 4, "submitted": 5}
    assert len(list((tmp_path / "submitted").iterdir())) == 3
    assert {entry.sequence for entry in ledger.studies(State.SUBMITTED)} == {1, 2, 3}
    again = Pipeline(home, ledger, stages).run()
    assert again.moved == 0


def test_a_study_that_ended_leaves_no_original_behind(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """Copies of the originals stay only where a person has to look; of a submitted study only the receipt stays."""
    enter(home, ledger, *(make_study(home, name) for name in NAMES))
    Pipeline(home, ledger, make_stages(home, tmp_path / "submitted")).run()
    quarantined = {key_of(name) for name, state in ENDS.items() if state is State.QUARANTINED}
    assert {folder.name for folder in home.spool.iterdir()} == quarantined
    assert {folder.name for folder in home.work_folders()} == quarantined
    assert list(home.outbox.iterdir()) == []
    assert len(list(home.receipts.iterdir())) == len(list(home.library.iterdir())) == 3


def test_originals_are_kept_when_settings_say(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    enter(home, ledger, make_study(home, "good-1"))
    Pipeline(home, ledger, make_stages(home, tmp_path / "submitted"), originals_stay=None).run()
    assert len(list((home.spool / key_of("good-1")).iterdir())) == 2
    assert not (home.work(key_of("good-1")) / "deidentified").exists()


@pytest.mark.parametrize("until", [State.INCLUDED, State.DEIDENTIFIED, State.VALIDATED, State.SEALED])
def test_a_verb_goes_as_far_as_it_says(home: SiteHome, ledger: Ledger, tmp_path: Path, until: State) -> None:
    enter(home, ledger, make_study(home, "good-1"))
    pipeline = Pipeline(home, ledger, make_stages(home, tmp_path / "submitted"))
    pipeline.run(until)
    assert ledger.study(key_of("good-1")).state is until
    pipeline.run()
    assert ledger.study(key_of("good-1")).state is State.SUBMITTED


def test_a_stage_that_is_not_open_makes_studies_wait(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """Before enrolment nothing is de-identified; without `submit` everything is sealed and waits."""
    enter(home, ledger, make_study(home, "good-1"))
    stages = make_stages(home, tmp_path / "submitted")
    Pipeline(home, ledger, Stages(screen=stages.screen)).run()
    assert ledger.study(key_of("good-1")).state is State.INCLUDED
    Pipeline(home, ledger, replace(stages, submit=None)).run()
    assert ledger.study(key_of("good-1")).state is State.SEALED
    Pipeline(home, ledger, stages).run()
    assert ledger.study(key_of("good-1")).state is State.SUBMITTED


def test_an_absent_coordinator_blocks_sending_only(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """One attempt is made; the other studies are sealed, the error is returned, and the next run sends them all."""
    enter(home, ledger, *(make_study(home, name) for name in NAMES))
    stages = make_stages(home, tmp_path / "submitted")
    attempts: list[Sealed] = []

    def absent(sealed: Sealed) -> Submitted:
        attempts.append(sealed)
        raise CoordinatorUnreachable(address="nowhere:1")

    progress = Pipeline(home, ledger, replace(stages, submit=absent)).run()
    assert isinstance(progress.blocked, CoordinatorUnreachable)
    assert len(attempts) == 1
    assert Counter(states(ledger).values())[State.SEALED] == 3
    Pipeline(home, ledger, stages).run()
    assert states(ledger) == ENDS


def test_a_study_the_coordinator_refuses_ends_alone(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    enter(home, ledger, make_study(home, "good-1"), make_study(home, "good-2"))
    stages = make_stages(home, tmp_path / "submitted")
    assert stages.submit is not None
    send, bad = stages.submit, key_of("good-1")

    def picky(sealed: Sealed) -> Submitted:
        if sealed.key == bad:
            raise ManifestInvalid(problem="of the test")
        return send(sealed)

    Pipeline(home, ledger, replace(stages, submit=picky)).run()
    assert ledger.study(bad).state is State.REFUSED
    assert ledger.study(bad).lead == "manifest-invalid"
    assert ledger.study(key_of("good-2")).state is State.SUBMITTED


@pytest.mark.parametrize("error", [ReceiptInvalid(problem="of the test"), StudyQuotaReached(studies="1")])
def test_what_is_wrong_with_one_submission_lets_the_others_go(
    home: SiteHome, ledger: Ledger, tmp_path: Path, error: RicordError
) -> None:
    """It waits, sealed, and is tried again; the error is returned, and the others are sent."""
    enter(home, ledger, make_study(home, "good-1"), make_study(home, "good-2"))
    stages = make_stages(home, tmp_path / "submitted")
    assert stages.submit is not None
    send, bad = stages.submit, key_of("good-1")

    def picky(sealed: Sealed) -> Submitted:
        if sealed.key == bad:
            raise error
        return send(sealed)

    progress = Pipeline(home, ledger, replace(stages, submit=picky)).run()
    assert progress.blocked is error
    assert ledger.study(bad).state is State.SEALED
    assert ledger.study(key_of("good-2")).state is State.SUBMITTED
    Pipeline(home, ledger, stages).run()
    assert ledger.study(bad).state is State.SUBMITTED


def test_a_full_disk_stops_the_node_and_loses_nothing(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    enter(home, ledger, make_study(home, "good-1"))
    stages = make_stages(home, tmp_path / "submitted")

    def full(study: Included, out: Path, blank: Blanking | None) -> Deidentified | Refused:
        raise DiskFull(folder=str(out))

    with pytest.raises(DiskFull):
        Pipeline(home, ledger, replace(stages, deidentify=full)).run()
    Pipeline(home, ledger, stages).run()
    assert ledger.study(key_of("good-1")).state is State.SUBMITTED


def test_a_released_study_goes_on(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    enter(home, ledger, make_study(home, "review-5"), make_study(home, "burned-7"))
    pipeline = Pipeline(home, ledger, make_stages(home, tmp_path / "submitted"))
    pipeline.run()
    for entry in ledger.studies(State.QUARANTINED):
        ledger.reopen(entry.key, [entry.lead], ledger.names(entry.key))
    pipeline.run()
    assert set(states(ledger).values()) == {State.SUBMITTED}


def test_a_pass_that_is_halted_ends_between_two_stages(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    enter(home, ledger, make_study(home, "good-1"))
    stages = make_stages(home, tmp_path / "submitted")
    answers = chain([False, False], repeat(True))
    Pipeline(home, ledger, stages, halted=lambda: next(answers)).run()
    assert ledger.study(key_of("good-1")).state is State.DEIDENTIFIED
    Pipeline(home, ledger, stages).run()
    assert ledger.study(key_of("good-1")).state is State.SUBMITTED


def test_half_written_files_of_a_kill_are_removed(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    for folder in (home.outbox, home.receipts, home.reports):
        (folder / ".x.json.0123.tmp").write_bytes(b"half")
    Pipeline(home, ledger, make_stages(home, tmp_path / "submitted")).run()
    assert not any((*home.outbox.iterdir(), *home.receipts.iterdir(), *home.reports.iterdir()))
