"""Blanking from the finding to the validated study: real detection, real stages, a person in between."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from compose.sample import films
from shared.errors.inputs import InvalidArgument
from shared.ids import SiteId, StudyKey
from shared.protocol.loader import load_profile
from site_node.blanking import BURNED_IN_TEXT, FINDINGS_FILE, Blanking, TextFindings
from site_node.deidentify.study import deidentify
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.home.records import Records
from site_node.node.composition import inspector
from site_node.node.intake import enter_reception
from site_node.node.pipeline import Pipeline
from site_node.node.stages import Stages
from site_node.pixels.client import PixelChecker
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.receive.folder import Reception
from site_node.review.decisions import blank, reject, release, show
from site_node.study import Deidentified, Included, Received, Refused, Validated
from site_node.validate.report_markdown import ReviewDecision, to_markdown
from site_node.validate.validation import validate
from tests.factories.dicom import make_dx
from tests.factories.pipeline import make_home
from tests.factories.studies import make_included, make_received

PROFILE = load_profile()
PSEUDONYMS = Pseudonyms(b"k" * 32, SiteId("123456"))
ROWS = 256


@pytest.fixture(scope="module")
def checker() -> Iterator[PixelChecker]:
    with PixelChecker() as checker:
        yield checker


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    return make_home(tmp_path / "home")


@pytest.fixture
def ledger(home: SiteHome) -> Iterator[Ledger]:
    ledger = Ledger(home.ledger)
    yield ledger
    ledger.close()


@pytest.fixture
def pipeline(home: SiteHome, ledger: Ledger, checker: PixelChecker) -> Pipeline:
    """Everything up to validation; nothing is screened."""

    def screen(study: Received, released: frozenset[str]) -> Included:
        del released
        return make_included(study)

    def rewrite(study: Included, out: Path, blank: Blanking | None) -> Deidentified | Refused:
        return deidentify(study, profile=PROFILE, pseudonyms=PSEUDONYMS, out=out, blank=blank)

    def check(source: Included, output: Deidentified, report: Path, blank: Blanking | None) -> Validated | Refused:
        return validate(
            source, output, profile=PROFILE, pseudonyms=PSEUDONYMS, report=report, blank=blank, searched=True
        )

    stages = Stages(screen=screen, deidentify=rewrite, inspect=inspector(checker, home.quarantine), validate=check)
    return Pipeline(home, ledger, stages)


def film(*texts: tuple[str, tuple[float, float]]) -> Dataset:
    """A film of 256 rows with names burned in at the places."""
    image = films.frontal(np.random.default_rng(3), ROWS, positive=True)
    for text, place in texts:
        image = films.mark(image, text, place, 0.06)
    dataset = make_dx(rows=ROWS)
    dataset.PixelData = (image * 4000).astype(np.uint16).tobytes()
    return dataset


TOP, BOTTOM = ("DOE JANE 1961", (0.05, 0.03)), ("MRN 7731904", (0.3, 0.9))


def enter(home: SiteHome, ledger: Ledger, dataset: Dataset) -> StudyKey:
    study = make_received(home.spool / "new", [dataset])
    (home.spool / "new").rename(home.spool / study.key)
    moved = study.instances[0].model_copy(update={"path": home.spool / study.key / "000000"})
    study = study.model_copy(update={"instances": (moved,)})
    enter_reception(Reception(studies=(study,), refused=(), duplicates=0), home=home, ledger=ledger)
    return study.key


def pixels_of(home: SiteHome, key: StudyKey) -> tuple[np.ndarray, np.ndarray]:
    instance = Records(home).read(key, Deidentified).instances[0]
    return pydicom.dcmread(instance.path).pixel_array, pydicom.dcmread(instance.source.path).pixel_array


def test_all_that_was_found_is_blanked_and_the_study_goes_on(
    home: SiteHome, ledger: Ledger, pipeline: Pipeline
) -> None:
    """Text is found, kept for its owner alone, blanked, searched for again; the study is validated and audited."""
    key = enter(home, ledger, film(TOP, BOTTOM))
    pipeline.run()
    assert (ledger.study(key).state, ledger.study(key).lead) == (State.QUARANTINED, BURNED_IN_TEXT)
    case = show(home, ledger, key[:8])
    file = case.folder / FINDINGS_FILE
    assert file.stat().st_mode & 0o777 == 0o600
    (frame,) = TextFindings.model_validate_json(file.read_bytes()).frames
    assert (frame.frame, case.frames, case.item.pictures) == (0, (frame,), (f"{key}/0.png",))
    _, blanking = blank(home, ledger, key, actor="dr", reason="a name")
    pipeline.run()
    assert ledger.study(key).state is State.VALIDATED
    after, before = pixels_of(home, key)
    inside = np.zeros(before.shape, dtype=bool)
    for box in blanking.boxes:
        inside[box.top : box.bottom, box.left : box.right] = True
    assert (after[~inside] == before[~inside]).all()
    assert (after[inside] == before.min()).all()
    (event,) = ledger.events()
    assert (event.action, event.detail) == ("blank", f"a name [{len(blanking.boxes)} boxes in 1 frames]")
    decision = ReviewDecision(event.at, event.actor, event.action, event.detail)
    page = to_markdown(report_of(home, ledger, key), [decision])
    assert f"| Blanked boxes | {len(blanking.boxes)} in 1 frames |" in page
    assert "dr: blank - a name" in page


def report_of(home: SiteHome, ledger: Ledger, key: StudyKey) -> bytes:
    return (home.reports / f"{ledger.study(key).study}.json").read_bytes()


def test_boxes_that_were_too_small_bring_the_study_back(home: SiteHome, ledger: Ledger, pipeline: Pipeline) -> None:
    """A study with one of two texts left is quarantined again, and its first boxes stay blanked with the second."""
    key = enter(home, ledger, film(TOP, BOTTOM))
    pipeline.run()
    blank(home, ledger, key, actor="dr", reason="the top", boxes=[f"0.png:0,0,{ROWS},{ROWS // 4}"])
    pipeline.run()
    assert (ledger.study(key).state, ledger.study(key).lead) == (State.QUARANTINED, BURNED_IN_TEXT)
    case = show(home, ledger, key)
    assert case.blanked == 1
    assert all(box.top > ROWS // 4 for frame in case.frames for box in frame.boxes)
    blank(home, ledger, key, actor="dr", reason="the bottom")
    pipeline.run()
    assert ledger.study(key).state is State.VALIDATED
    after, before = pixels_of(home, key)
    assert (after[: ROWS // 4] == before.min()).all()
    assert json.loads(report_of(home, ledger, key))["blanked_boxes"] > 1


@pytest.mark.parametrize(
    "box", ["0.png", "1.png:1,2,3,4", "0.png:9,9,9,12", "0.png:300,0,400,20", "0.png:-1,0,4,4", "../0:1,2,3,4"]
)
def test_what_is_no_box_is_refused_and_changes_nothing(
    home: SiteHome, ledger: Ledger, pipeline: Pipeline, box: str
) -> None:
    """A box without sides, of another frame, empty, outside or negative leaves the study as it was."""
    key = enter(home, ledger, film(TOP))
    pipeline.run()
    with pytest.raises(InvalidArgument):
        blank(home, ledger, key, actor="dr", reason="a name", boxes=[box])
    with pytest.raises(InvalidArgument):
        blank(home, ledger, key, actor="dr", reason=" ")
    assert (ledger.study(key).state, ledger.events()) == (State.QUARANTINED, ())
    assert ledger.blanking(key) is None


def test_released_or_rejected_nothing_is_blanked(home: SiteHome, ledger: Ledger, pipeline: Pipeline) -> None:
    """A release lets the pixels pass as they are; without text found there is nothing to blank."""
    key = enter(home, ledger, film(TOP))
    pipeline.run()
    release(home, ledger, key, actor="dr", reason="no patient's name")
    pipeline.run()
    after, before = pixels_of(home, key)
    assert (ledger.study(key).state, bool((after == before).all())) == (State.VALIDATED, True)
    coloured = enter(home, ledger, make_dx(rows=ROWS, study="study-2", PhotometricInterpretation="PALETTE COLOR"))
    pipeline.run()
    assert ledger.study(coloured).lead == "pixels-not-readable"
    with pytest.raises(InvalidArgument):
        blank(home, ledger, coloured, actor="dr", reason="a name")
    reject(home, ledger, coloured, actor="dr", reason="broken")
    pipeline.run()
    assert ledger.study(coloured).state is State.EXCLUDED
