"""A sample archive ends as its summary says, and nothing planted in it leaves."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from compose.sample.summary import BURNED_IN_TEXT, HospitalSummary
from compose.sample_hospital import write_hospital
from shared.ids import SiteId
from shared.protocol.loader import Protocol, load_protocol
from site_node.clinical.release import deidentify_row
from site_node.clinical.sheet import ClinicalSheet, read_sheet
from site_node.deidentify.study import deidentify
from site_node.node.composition import row_for
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.receive.folder import Reception, receive_folder
from site_node.screen.decide import screen
from site_node.study import ClinicalRow, Deidentified, Ending, Excluded, Included, Received, Refused, Review, Validated
from site_node.validate.validation import validate

pytestmark = pytest.mark.slow

HOSPITAL = 2


@dataclass(frozen=True)
class Outcome:
    """How one study ends."""

    ending: Ending
    codes: frozenset[str]
    validated: Validated | None = None


@dataclass(frozen=True)
class Stages:
    """The stages of a node, from a received study to its outcome."""

    reception: Reception
    sheet: ClinicalSheet
    protocol: Protocol
    pseudonyms: Pseudonyms
    out: Path

    def run(self, study: Received) -> Outcome:
        reason = self.reception.held.get(study.key)
        if reason:
            return Outcome(Ending.QUARANTINED, frozenset({reason.code}))
        row = row_for(study, [self.sheet])
        screened = screen(study, criteria=self.protocol.criteria, clinical=row, clinical_checked=True)
        if isinstance(screened, Review | Excluded):
            ending = Ending.EXCLUDED if isinstance(screened, Excluded) else Ending.QUARANTINED
            return Outcome(ending, frozenset(reason.code for reason in screened.reasons))
        assert isinstance(row, ClinicalRow)
        return self.release(screened, row, self.out / study.key)

    def release(self, study: Included, row: ClinicalRow, out: Path) -> Outcome:
        out.mkdir(parents=True)
        assert study.study.identity is not None
        dictionary, profile, pseudonyms = self.protocol.clinical, self.protocol.profile, self.pseudonyms
        clinical = deidentify_row(row, dictionary=dictionary, pseudonyms=pseudonyms, identity=study.study.identity)
        output = deidentify(study, profile=profile, pseudonyms=pseudonyms, out=out / "study", clinical=clinical)
        result: Refused | Validated | Deidentified = output
        if isinstance(output, Deidentified):
            result = validate(study, output, profile=profile, pseudonyms=pseudonyms, report=out / "report.json")
        if isinstance(result, Refused):
            return Outcome(result.ending, frozenset(reason.code for reason in result.reasons))
        assert isinstance(result, Validated)
        return Outcome(Ending.SUBMITTED, frozenset(), result)


@dataclass(frozen=True)
class Visit:
    """One hospital and the outcome of each of its studies, by StudyInstanceUID."""

    summary: HospitalSummary
    reception: Reception
    outcomes: dict[str, Outcome]


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Visit:
    folder = tmp_path_factory.mktemp("sample")
    summary = write_hospital(folder / "hospital", hospital=HOSPITAL, seed=20)
    protocol, pseudonyms = load_protocol("ricord"), Pseudonyms(b"s" * 32, SiteId("123456"))
    reception = receive_folder(summary.archive, folder / "spool", pseudonyms)
    sheet = read_sheet(summary.sheet, protocol.clinical)
    assert not sheet.problems
    stages = Stages(reception, sheet, protocol, pseudonyms, folder / "out")
    outcomes = {study.study_instance_uid: stages.run(study) for study in reception.studies}
    return Visit(summary, reception, outcomes)


def test_every_study_ends_as_expected(visit: Visit) -> None:
    """Screen, de-identify and validate end each study as the summary says; other tests search the pixels."""
    wrong: dict[str, tuple[object, ...]] = {}
    for uid, expected in visit.summary.expected.items():
        outcome = visit.outcomes[uid]
        if expected.code == BURNED_IN_TEXT:
            assert outcome.ending is Ending.SUBMITTED  # only its pixels show the text
        elif outcome.ending is not expected.ending or (expected.code and expected.code not in outcome.codes):
            wrong[expected.label] = (outcome.ending, outcome.codes)
        elif outcome.validated is not None and len(outcome.validated.study.left_out) != expected.left_out:
            wrong[expected.label] = ("left out", [instance.reasons for instance in outcome.validated.study.left_out])
    assert not wrong
    assert set(visit.outcomes) == set(visit.summary.expected)


def test_files_that_are_no_study_are_counted(visit: Visit) -> None:
    """The text, the half file and the copy are refused or dropped."""
    codes = [file.reason.code for file in visit.reception.refused]
    assert {code: codes.count(code) for code in codes} == visit.summary.refused
    assert visit.reception.duplicates == visit.summary.duplicates


def test_nothing_planted_leaves(visit: Visit) -> None:
    """No planted text is in any validated file outside its pixels, in any of its written forms."""
    assert len(visit.summary.planted) > 100
    planted = [text.encode() for text in visit.summary.planted]
    for outcome in visit.outcomes.values():
        for instance in outcome.validated.study.instances if outcome.validated else ():
            dataset = pydicom.dcmread(instance.path)
            pixels = dataset.PixelData
            content = instance.path.read_bytes().replace(pixels, b"")
            assert not [text for text in planted if text in content]


def test_planted_texts_were_there(visit: Visit) -> None:
    """Most planted texts are in the archive in plain bytes, or their search would prove nothing."""
    archive = b"".join(
        file.read_bytes()
        for file in sorted(visit.summary.archive.rglob("*.dcm"))
        if b"1.2.1.99" not in file.read_bytes()[:400]
    )
    present = [text for text in visit.summary.planted if text.encode() in archive]
    assert len(present) > len(visit.summary.planted) * 0.6


def test_both_classes_are_there(visit: Visit) -> None:
    """At least twenty films of each class pass, so that a site may send its own figures."""
    validated = [outcome.validated for outcome in visit.outcomes.values() if outcome.validated]
    labels = [(study.study.clinical or {}).get("pneumonia") for study in validated]
    assert labels.count("yes") >= 20
    assert labels.count("no") >= 20


def test_equal_seeds_give_equal_archives(tmp_path: Path) -> None:
    """The same seed gives the same bytes, another seed gives others."""

    def digest(seed: int, name: str) -> str:
        summary = write_hospital(tmp_path / name, hospital=1, seed=seed, radiographs=8)
        files = sorted(summary.archive.rglob("*.dcm"))
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()

    assert digest(5, "a") == digest(5, "b") != digest(6, "c")
