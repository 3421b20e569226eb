"""A person's decisions, each kept with who and why."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from shared.errors.inputs import AmbiguousReference, InvalidArgument, NotFound, NotInQuarantine
from shared.ids import StudyKey, Uid
from site_node.blanking import BURNED_IN_TEXT, FINDINGS_FILE, BlankBox, Blanking, FrameWithText, Sides, TextFindings
from site_node.home.folder import SiteHome
from site_node.home.ledger import OTHER_BYTES, SENT_OR_SEALED, Ledger, State
from site_node.home.records import Records
from site_node.node.intake import enter_reception
from site_node.node.pipeline import Pipeline
from site_node.receive.folder import NO_PATIENT_ID, Reception
from site_node.review.decisions import blank, choose, list_waiting, list_with_versions, reject, release, show
from site_node.study import Received, Severity
from tests.factories.pipeline import enter, key_of, make_home, make_stages, make_study, reason

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
    assert show(home, ledger, KEY).blanked == 0
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


@pytest.mark.parametrize("passed", [State.INCLUDED, State.VALIDATED, State.SEALED])
@pytest.mark.parametrize("versions", [False, True])
@pytest.mark.parametrize("state", State)
def test_each_decision_has_the_studies_that_it_concerns(
    home: SiteHome, ledger: Ledger, state: State, versions: bool, passed: State
) -> None:
    """Those in quarantine; rejected may be one that an error refused late, too, and chosen one with versions apart.

    Without a reason given, nothing changes for these either; what was sealed is never changed by a choice.
    """
    ledger.advance(KEY, passed)
    ledger.advance(KEY, state, reasons=(reason("why"),))
    if versions:
        ledger.hold_instances(KEY, ["a-version"], OTHER_BYTES)
    before, waits = ledger.study(KEY), state is State.QUARANTINED
    was_passed_over = state is State.REFUSED and passed is not State.INCLUDED
    with pytest.raises(InvalidArgument if waits else NotInQuarantine):
        release(home, ledger, KEY, actor="dr", reason=" ")
    with pytest.raises(InvalidArgument if waits else NotInQuarantine):
        blank(home, ledger, KEY, actor="dr", reason=" ")
    with pytest.raises(InvalidArgument if waits or was_passed_over else NotInQuarantine):
        reject(home, ledger, KEY, actor="dr", reason=" ")
    if waits or versions:
        assert show(home, ledger, KEY).item.key == KEY
        with pytest.raises(InvalidArgument, match="it was sealed" if state in SENT_OR_SEALED else "say why"):
            choose(home, ledger, KEY, "a-version", actor="dr", reason=" ")
    else:
        with pytest.raises(NotInQuarantine):
            show(home, ledger, KEY)
        with pytest.raises(NotInQuarantine):
            choose(home, ledger, KEY, "a-version", actor="dr", reason="why")
    assert (ledger.study(KEY), ledger.events()) == (before, ())
    assert [item.key for item in list_waiting(home, ledger)] == ([KEY] if waits else [])
    is_listed = versions and not waits and state not in SENT_OR_SEALED
    assert list_with_versions(ledger) == ((KEY,) if is_listed else ())


def test_a_study_without_its_record_is_not_released(home: SiteHome, ledger: Ledger, pipeline: Pipeline) -> None:
    """Nobody knows then whose it is."""
    (home.work(KEY) / "received.json").unlink()
    with pytest.raises(InvalidArgument, match="has no patient"):
        release(home, ledger, KEY, actor="dr", reason="please")
    assert ledger.study(KEY).state is State.QUARANTINED


def test_nothing_is_blanked_where_no_text_held_the_study(home: SiteHome, ledger: Ledger, pipeline: Pipeline) -> None:
    """Though a search of before left its boxes, and a person names another."""
    (home.quarantine / KEY).mkdir()
    Image.new("L", (9, 9)).save(home.quarantine / KEY / "0.png")
    frame = FrameWithText(picture="0.png", instance=Uid("1.2.3"), frame=0, boxes=(Sides(4, 4, 6, 6),))
    (home.quarantine / KEY / FINDINGS_FILE).write_text(TextFindings(frames=(frame,)).model_dump_json())
    for boxes in ((), ("0.png:1,1,2,2",)):
        with pytest.raises(InvalidArgument, match="nothing to blank"):
            blank(home, ledger, KEY, actor="dr", reason="a name", boxes=boxes)
    assert (ledger.study(KEY).state, ledger.blanking(KEY), ledger.events()) == (State.QUARANTINED, None, ())


def test_a_release_lifts_what_a_person_may_judge(home: SiteHome, ledger: Ledger, pipeline: Pipeline) -> None:
    """Each reason for review, and no other beside it."""
    severities = {"look": Severity.REVIEW, "look-too": Severity.REVIEW, "slight": Severity.WARN, "no": Severity.REJECT}
    reasons = tuple(reason(code, severity) for code, severity in severities.items())
    ledger.advance(KEY, State.QUARANTINED, reasons=reasons)
    release(home, ledger, KEY, actor="dr", reason="seen")
    assert ledger.study(KEY).released == {"look", "look-too"}


@pytest.mark.parametrize("kept", ["ledger", "record"])
def test_boxes_of_earlier_decisions_stay_blanked(home: SiteHome, ledger: Ledger, pipeline: Pipeline, kept: str) -> None:
    """A person sees how many, and adds to them; earlier releases kept them as a record."""
    former = Blanking(boxes=(BlankBox(instance=Uid("1.2.3"), frame=0, left=1, top=1, right=2, bottom=2),))
    if kept == "ledger":
        names = [instance.name for instance in Records(home).read(KEY, Received).instances]
        ledger.reopen(KEY, (), names, blanking=former)
    else:
        Records(home).write(KEY, former)
    ledger.advance(KEY, State.QUARANTINED, reasons=(reason(BURNED_IN_TEXT, Severity.REVIEW),))
    assert show(home, ledger, KEY).blanked == 1
    frame = FrameWithText(picture="0.png", instance=Uid("1.2.3"), frame=0, boxes=(Sides(4, 4, 6, 6),))
    (home.quarantine / KEY).mkdir()
    (home.quarantine / KEY / FINDINGS_FILE).write_text(TextFindings(frames=(frame,)).model_dump_json())
    _, blanking = blank(home, ledger, KEY, actor="dr", reason="a name")
    assert ledger.blanking(KEY) == Blanking(boxes=(*former.boxes, *blanking.boxes))
