"""Worker processes move studies as this process does; what becomes of a worker never loses a study."""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from shared.errors.base import InternalError, RicordError
from shared.errors.storage import DiskFull, DiskNearlyFull
from shared.ids import StudyKey
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.node.crew import advance_study
from site_node.node.pipeline import Advance, Pipeline
from tests.factories.pipeline import enter, key_of, make_home, make_stages, make_study

STUDIES = 3


@pytest.fixture
def ledger(home: SiteHome) -> Iterator[Ledger]:
    ledger = Ledger(home.ledger)
    enter(home, ledger, *(make_study(home, f"good{number}") for number in range(STUDIES)))
    yield ledger
    ledger.close()


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    return make_home(tmp_path / "home")


def test_a_study_whose_worker_dies_each_time_waits_for_a_person(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """The other studies go on to their end."""
    pipeline = Pipeline(home, ledger, make_stages(home, tmp_path / "submitted"))
    unlucky = key_of("good1")

    def workers(keys: Sequence[StudyKey], until: State) -> Iterator[tuple[StudyKey, Advance | None]]:
        for key in keys:
            yield key, None if key == unlucky else pipeline.advance(key, until)

    assert pipeline.run(State.SUBMITTED, workers).moved == STUDIES
    entry = ledger.study(unlucky)
    assert (entry.state, entry.lead) == (State.QUARANTINED, "worker-died")
    assert len(ledger.studies(State.SUBMITTED)) == STUDIES - 1


def test_a_study_that_its_worker_sealed_before_it_died_is_sent(home: SiteHome, ledger: Ledger, tmp_path: Path) -> None:
    """Nothing is wrong with it."""
    pipeline = Pipeline(home, ledger, make_stages(home, tmp_path / "submitted"))

    def workers(keys: Sequence[StudyKey], until: State) -> Iterator[tuple[StudyKey, Advance | None]]:
        for key in keys:
            assert pipeline.advance(key, until).steps[-1].reached is State.SEALED
            yield key, None

    assert pipeline.run(State.SUBMITTED, workers).moved == STUDIES
    assert len(ledger.studies(State.SUBMITTED)) == STUDIES


@pytest.mark.parametrize(("error", "stops"), [(DiskFull(folder="x"), True), (DiskNearlyFull(folder="x"), False)])
def test_an_error_of_the_node_in_a_worker_is_one_here(
    home: SiteHome, ledger: Ledger, tmp_path: Path, error: RicordError, stops: bool
) -> None:
    """It ends no study: a full disk stops the pass, a shortage is reported."""
    pipeline = Pipeline(home, ledger, make_stages(home, tmp_path))

    def workers(keys: Sequence[StudyKey], _until: State) -> Iterator[tuple[StudyKey, Advance | None]]:
        return ((key, Advance(error=error)) for key in keys)

    if stops:
        with pytest.raises(DiskFull):
            pipeline.run(State.DEIDENTIFIED, workers)
        assert len(ledger.studies(State.RECEIVED)) == STUDIES
    else:
        progress = pipeline.run(State.DEIDENTIFIED, workers)
        assert progress.blocked is error


def test_a_worker_says_of_a_home_that_it_cannot_open_what_is_wrong(tmp_path: Path) -> None:
    """Nothing is raised in the worker, so that no study is charged with it."""
    missing = tmp_path / "none"
    advanced = advance_study(missing, None, State.VALIDATED, StudyKey("0" * 32))
    assert advanced.steps == ()
    assert isinstance(advanced.error, RicordError)
    assert not isinstance(advanced.error, InternalError)


def test_an_error_goes_to_another_process_by_its_code_and_fields() -> None:
    """Its private text, which may hold anything, stays."""
    sent = copy.copy(DiskFull("private", folder="/srv"))  # asks `__reduce__`, as pickle does
    assert (type(sent), sent.fields, sent.private) == (DiskFull, {"folder": "/srv"}, "")
