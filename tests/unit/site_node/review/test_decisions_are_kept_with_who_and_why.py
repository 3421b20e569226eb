"""A person's decisions, each kept with who and why."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors.inputs import AmbiguousReference, InvalidArgument, NotFound
from shared.ids import StudyKey
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.node.intake import enter_reception
from site_node.node.pipeline import Pipeline
from site_node.receive.folder import NO_PATIENT_ID, Reception
from site_node.review.decisions import list_waiting, reject, release, show
from tests.factories.pipeline import enter, key_of, make_home, make_stages, make_study

KEY = key_of("review-1")


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    return make_home(tmp_path / "home")


@pytest.fixture
def ledger(home: SiteHome) -> Iterator[Ledger]:
    ledger = Ledger(home.ledger)
    enter(home, ledger, make_study(home, "review-1"))
    yield ledger
    ledger.close()


@pytest.fixture
def pipeline(home: SiteHome, ledger: Ledger, tmp_path: Path) -> Pipeline:
    pipeline = Pipeline(home, ledger, make_stages(home, tmp_path / "submitted"))
    pipeline.run()
    return pipeline


def test_a_released_study_goes_the_whole_way_and_the_act_is_kept(
    home: SiteHome, ledger: Ledger, pipeline: Pipeline
) -> None:
    (home.quarantine / KEY).mkdir()
    (home.quarantine / KEY / "0.png").write_bytes(b"")
    (item,) = list_waiting(home, ledger)
    assert (item.key, [why.code for why in item.reasons], item.pictures) == (KEY, ["look"], (f"{KEY}/0.png",))
    release(home, ledger, KEY[:8], actor="dr", reason="seen, it is  chest")
    pipeline.run()
    assert ledger.study(KEY).state is State.SUBMITTED
    assert list_waiting(home, ledger) == ()
    (event,) = ledger.events()
    assert (event.actor, event.action, event.key, event.detail) == ("dr", "release", KEY, "seen, it is chest")


def test_a_rejected_study_is_excluded_by_a_persons_word(home: SiteHome, ledger: Ledger, pipeline: Pipeline) -> None:
    reject(home, ledger, KEY, actor="dr", reason="a phantom")
    pipeline.run()
    assert (ledger.study(KEY).state, ledger.study(KEY).lead) == (State.EXCLUDED, "rejected-in-review")
    assert not (home.spool / KEY).exists()


def test_a_study_is_named_by_a_beginning(home: SiteHome, ledger: Ledger, pipeline: Pipeline) -> None:
    """One that fits several studies is refused with their number, and names none of them."""
    pipeline.run()
    other = StudyKey(KEY[:4] + ("0" if KEY[4] != "0" else "1") + KEY[5:])
    ledger.add_study(other, [], state=State.RECEIVED)
    with pytest.raises(AmbiguousReference, match=r"^2 studies begin with what was given; give more of it\.$"):
        show(home, ledger, KEY[:4])
    assert show(home, ledger, KEY[:5]).item.key == KEY
    assert reject(home, ledger, KEY[:5], actor="dr", reason="a phantom") == KEY


@pytest.mark.usefixtures("pipeline")
@pytest.mark.parametrize(
    ("reference", "reason", "error"),
    [
        (KEY, " ", InvalidArgument),
        ("0" * 8, "why", NotFound),
        ("%", "why", InvalidArgument),
        ("", "why", InvalidArgument),
    ],
)
def test_a_decision_needs_a_study_and_a_reason(
    home: SiteHome, ledger: Ledger, reference: str, reason: str, error: type[Exception]
) -> None:
    """A refused decision changes nothing and leaves no audit event."""
    with pytest.raises(error):
        reject(home, ledger, reference, actor="dr", reason=reason)
    assert ledger.study(KEY).state is State.QUARANTINED
    assert ledger.events() == ()


def test_nobody_can_release_a_study_without_a_patient(home: SiteHome, ledger: Ledger) -> None:
    study = make_study(home, "nobody").model_copy(update={"identity": None})
    enter_reception(
        Reception(studies=(study,), held={study.key: NO_PATIENT_ID}, refused=(), duplicates=0), home=home, ledger=ledger
    )
    assert ledger.study(study.key).lead == "no-patient-id"
    with pytest.raises(InvalidArgument):
        release(home, ledger, study.key, actor="dr", reason="please")
    assert ledger.study(study.key).state is State.QUARANTINED
