"""Only an error that judges a study ends it; whatever else fails, the study stays where it is until that heals."""

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from shared.errors.base import InternalError, RicordError, Verdict, code_of
from shared.errors.storage import HomeFailed
from shared.errors.tree import all_errors, error_for
from site_node.home.folder import SiteHome
from site_node.home.ledger import STATE_ORDER, Ledger, State
from site_node.node.pipeline import Pipeline
from site_node.node.stages import Stages
from site_node.review.retry import retry
from site_node.study import Excluded, Included, Received, Review, Sealed, Submitted
from tests.factories.pipeline import enter, key_of, make_home, make_stages, make_study

STAGE = dict(zip(STATE_ORDER, ("screen", "deidentify", "validate", "seal", "submit"), strict=False))
VERDICTS = {
    *("dicom-unreadable", "dicom-unsupported", "pixels-unreadable", "pixel-check-failed"),
    *("sealed-file-invalid", "manifest-invalid", "submission-withdrawn"),
}
FOREIGN = (
    OSError(5, "Input/output error"),
    PermissionError(13, "Permission denied"),
    FileNotFoundError(2, "No such file or directory"),
    sqlite3.OperationalError("database is locked"),
    MemoryError(),
    ZeroDivisionError("a defect"),
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> SiteHome:
    return make_home(tmp_path_factory.mktemp("template") / "home")


@pytest.fixture
def home(template: SiteHome, tmp_path: Path) -> SiteHome:
    home = SiteHome(tmp_path / "home")
    shutil.copytree(template.folder, home.folder)
    return home


@pytest.fixture
def ledger(home: SiteHome) -> Iterator[Ledger]:
    ledger = Ledger(home.ledger)
    yield ledger
    ledger.close()


def failing(stages: Stages, state: State, error: Exception) -> Stages:
    """The stages, of which the one after `state` fails."""

    def fail(*_: object) -> NoReturn:
        raise error

    return replace(stages, **{STAGE[state]: fail})


def test_the_table_of_verdicts_is_complete() -> None:
    """An error judges a study if it is one of these; a new one blocks unless its class says otherwise."""
    assert {code_of(kind) for kind in all_errors() if issubclass(kind, Verdict)} == VERDICTS
    assert not issubclass(type(error_for("of-a-newer-release", {})), Verdict)


@pytest.mark.parametrize("kind", all_errors(), ids=code_of)
def test_each_error_does_at_each_stage_what_its_class_says(
    home: SiteHome, ledger: Ledger, tmp_path: Path, kind: type[RicordError]
) -> None:
    """A verdict refuses, a defect waits for a person unless the study is sealed, and every other error blocks.

    Nothing is deleted of a study that does not end, nor the new files of one refused at submission; each comes to its
    receipt.
    """
    stages = make_stages(home, tmp_path / "submitted")
    for state in STAGE:
        study = make_study(home, f"good-{state}")
        enter(home, ledger, study)
        advanced = Pipeline(home, ledger, failing(stages, state, kind())).advance(study.key, State.SUBMITTED)
        entry = ledger.study(study.key)
        is_sealed = state is State.SEALED
        if issubclass(kind, Verdict):
            assert (entry.state, entry.lead, advanced.error) == (State.REFUSED, code_of(kind), None)
        elif kind is InternalError and not is_sealed:
            assert (entry.state, entry.lead, advanced.error) == (State.QUARANTINED, "internal-error", None)
        else:
            assert (entry.state, type(advanced.error)) == (state, kind)
        Pipeline(home, ledger, make_stages(home, tmp_path / "submitted", wait=True)).run(State.RECEIVED)  # it cleans up
        if entry.state is not State.REFUSED or is_sealed:
            assert any(instance.path.exists() for instance in study.instances) is (entry.state is not State.REFUSED)
            if entry.state is not state:
                retry(home, ledger, study.key[:8], actor="A. Miller")
            assert Pipeline(home, ledger, stages).advance(study.key, State.SUBMITTED).error is None
            assert ledger.study(study.key).state is State.SUBMITTED
    assert list(home.outbox.iterdir()) == []


@pytest.mark.parametrize("error", FOREIGN, ids=lambda error: type(error).__name__)
def test_what_fails_outside_judges_no_study(home: SiteHome, ledger: Ledger, tmp_path: Path, error: Exception) -> None:
    """Disk and ledger block. A defect holds its study for a person, and a sealed one waits."""
    stages = make_stages(home, tmp_path / "submitted")
    blocks = isinstance(error, (OSError, sqlite3.Error)) and not isinstance(error, FileNotFoundError)
    for state in STAGE:
        study = make_study(home, f"good-{state}")
        enter(home, ledger, study)
        advanced = Pipeline(home, ledger, failing(stages, state, error)).advance(study.key, State.SUBMITTED)
        expected = HomeFailed if blocks else InternalError if state is State.SEALED else type(None)
        assert type(advanced.error) is expected
        assert ledger.study(study.key).state is (State.QUARANTINED if expected is type(None) else state)
        assert all(instance.path.exists() for instance in study.instances)


@pytest.mark.parametrize("error", [InternalError(), ZeroDivisionError(), OSError(5, "Input/output error")])
def test_a_study_that_cannot_be_sent_keeps_no_other_back(
    home: SiteHome, ledger: Ledger, tmp_path: Path, error: Exception
) -> None:
    """The pass says what blocked it, and does not end as if all were well."""
    enter(home, ledger, *(make_study(home, f"good-{number}") for number in range(4)))
    stages = make_stages(home, tmp_path / "submitted")
    assert stages.submit is not None
    send, bad = stages.submit, min(key_of(f"good-{number}") for number in range(4))

    def picky(sealed: Sealed) -> Submitted:
        if sealed.key == bad:
            raise error
        return send(sealed)

    progress = Pipeline(home, ledger, replace(stages, submit=picky)).run()
    assert progress.blocked is not None
    assert progress.blocked.exit_code
    assert [entry.key for entry in ledger.studies(State.SEALED)] == [bad]
    assert len(ledger.studies(State.SUBMITTED)) == 3
    assert Pipeline(home, ledger, stages).run().blocked is None


def test_a_study_whose_file_the_disk_does_not_give_keeps_no_other_back(
    home: SiteHome, ledger: Ledger, tmp_path: Path
) -> None:
    """It waits where it is."""
    enter(home, ledger, *(make_study(home, f"good-{number}") for number in range(3)))
    stages, bad = make_stages(home, tmp_path / "submitted"), key_of("good-1")

    def failing_for_one(study: Received, released: frozenset[str]) -> Included | Review | Excluded:
        if study.key == bad:
            raise OSError(5, "Input/output error")
        return stages.screen(study, released)

    assert isinstance(Pipeline(home, ledger, replace(stages, screen=failing_for_one)).run().blocked, HomeFailed)
    assert [entry.key for entry in ledger.studies(State.RECEIVED)] == [bad]
    assert len(ledger.studies(State.SUBMITTED)) == 2


def test_a_locked_ledger_changes_nothing_and_says_so(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """The next pass goes on."""
    study = make_study(home, "good-1")
    enter(home, ledger, study)
    stages = make_stages(home, tmp_path / "submitted")
    other = sqlite3.connect(home.ledger, isolation_level=None)
    other.execute("begin immediate")
    ledger._db.execute("pragma busy_timeout = 0")
    with pytest.raises(HomeFailed, match="SQLITE_BUSY"):
        ledger.advance(study.key, State.INCLUDED)
    assert isinstance(Pipeline(home, ledger, stages).run().blocked, HomeFailed)
    other.close()
    assert ledger.study(study.key).state is State.RECEIVED
    Pipeline(home, ledger, stages).run()
    assert ledger.study(study.key).state is State.SUBMITTED
