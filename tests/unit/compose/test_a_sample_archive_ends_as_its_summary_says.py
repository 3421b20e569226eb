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

HOSPITAL = 2


@dataclass(frozen=True)
class Ended:
    ending: Ending
    codes: frozenset[str]
    validated: Validated | None = None


@dataclass(frozen=True)
class Visit:
    """One hospital and what the stages made of it."""

    summary: HospitalSummary
    reception: Reception
    ended: dict[str, Ended]


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Visit:
    folder = tmp_path_factory.mktemp("sample")
    summary = write_hospital(folder / "hospital", hospital=HOSPITAL, seed=20)
    protocol, pseudonyms = load_protocol("ricord"), Pseudonyms(b"s" * 32, SiteId("123456"))
    reception = receive_folder(summary.archive, folder / "spool", pseudonyms)
    sheet = read_sheet(summary.sheet, protocol.clinical)
    assert not sheet.problems
    ended = {
        study.study_instance_uid: _end(study, reception, sheet, protocol, pseudonyms, folder / "out")
        for study in reception.studies
    }
    return Visit(summary, reception, ended)


def _end(  # noqa: PLR0917 -- what a node has at hand, by type
    study: Received, reception: Reception, sheet: ClinicalSheet, protocol: Protocol, pseudonyms: Pseudonyms, out: Path
) -> Ended:
    held = reception.held.get(study.key)
    if held:
        return Ended(Ending.QUARANTINED, frozenset({held.code}))
    row = row_for(study, [sheet])
    screened = screen(study, criteria=protocol.criteria, clinical=row, clinical_checked=True)
    if isinstance(screened, Review | Excluded):
        ending = Ending.EXCLUDED if isinstance(screened, Excluded) else Ending.QUARANTINED
        return Ended(ending, frozenset(reason.code for reason in screened.reasons))
    return _leave(screened, row if isinstance(row, ClinicalRow) else None, protocol, pseudonyms, out / study.key)


def _leave(study: Included, row: ClinicalRow | None, protocol: Protocol, pseudonyms: Pseudonyms, out: Path) -> Ended:
    out.mkdir(parents=True)
    identity = study.study.identity
    assert identity is not None
    assert row is not None
    leaving = deidentify_row(row, dictionary=protocol.clinical, pseudonyms=pseudonyms, identity=identity)
    done = deidentify(study, profile=protocol.profile, pseudonyms=pseudonyms, out=out / "study", clinical=leaving)
    found: Refused | Validated | Deidentified = done
    if isinstance(done, Deidentified):
        found = validate(study, done, profile=protocol.profile, pseudonyms=pseudonyms, report=out / "report.json")
    if isinstance(found, Refused):
        return Ended(found.ending, frozenset(reason.code for reason in found.reasons))
    assert isinstance(found, Validated)
    return Ended(Ending.SUBMITTED, frozenset(), found)


def test_every_study_ends_as_expected(visit: Visit) -> None:
    """Screen, de-identify and validate end each study as the summary says; pixels are looked at elsewhere."""
    wrong: dict[str, tuple[object, ...]] = {}
    for uid, expected in visit.summary.expected.items():
        seen = visit.ended[uid]
        if expected.code == BURNED_IN_TEXT:
            assert seen.ending is Ending.SUBMITTED  # nothing but its pixels tells
        elif seen.ending is not expected.ending or (expected.code and expected.code not in seen.codes):
            wrong[expected.label] = (seen.ending, seen.codes)
        elif seen.validated is not None and len(seen.validated.study.left_out) != expected.left_out:
            wrong[expected.label] = ("left out", [one.reasons for one in seen.validated.study.left_out])
    assert not wrong
    assert set(visit.ended) == set(visit.summary.expected)


def test_files_that_are_no_study_are_counted(visit: Visit) -> None:
    """The text, the half file and the copy are refused or dropped."""
    codes = [one.reason.code for one in visit.reception.refused]
    assert {code: codes.count(code) for code in codes} == visit.summary.refused
    assert visit.reception.duplicates == visit.summary.duplicates


def test_nothing_planted_leaves(visit: Visit) -> None:
    """No planted text stands in a byte of any validated file outside its pixels, in whatever way it is written."""
    assert len(visit.summary.planted) > 100
    planted = [text.encode() for text in visit.summary.planted]
    for ended in visit.ended.values():
        for instance in ended.validated.study.instances if ended.validated else ():
            dataset = pydicom.dcmread(instance.path)
            pixels = dataset.PixelData
            content = instance.path.read_bytes().replace(pixels, b"")
            assert not [text for text in planted if text in content]


def test_planted_texts_were_there(visit: Visit) -> None:
    """Every planted text stands in the archive, or its search would prove nothing."""
    archive = b"".join(
        file.read_bytes()
        for file in sorted(visit.summary.archive.rglob("*.dcm"))
        if b"1.2.1.99" not in file.read_bytes()[:400]
    )
    there = [text for text in visit.summary.planted if text.encode() in archive]
    assert len(there) > len(visit.summary.planted) * 0.6


def test_both_classes_are_there(visit: Visit) -> None:
    """At least twenty films of each class pass, so that a figure of the class may be told."""
    labels = [
        (ended.validated.study.clinical or {}).get("pneumonia") for ended in visit.ended.values() if ended.validated
    ]
    assert labels.count("yes") >= 20
    assert labels.count("no") >= 20


def test_equal_seeds_give_equal_archives(tmp_path: Path) -> None:
    """The same seed gives the same bytes, another seed others."""

    def digest(seed: int, name: str) -> str:
        made = write_hospital(tmp_path / name, hospital=1, seed=seed, radiographs=8)
        files = sorted(made.archive.rglob("*.dcm"))
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()

    assert digest(5, "a") == digest(5, "b") != digest(6, "c")
