"""A study ends the same in a node and by `deidentify FOLDER`, file by file and byte by byte."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from shared.crypto.keys import make_secret
from shared.ids import SiteId, StudyKey
from shared.protocol.loader import load_criteria, load_profile
from site_node.deidentify.study import deidentify
from site_node.home.folder import init_home
from site_node.home.ledger import Ledger, State
from site_node.home.records import Records
from site_node.node.intake import enter_reception
from site_node.node.pipeline import Pipeline
from site_node.node.stages import Stages
from site_node.node.workers import Inline
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.receive.folder import receive_folder
from site_node.screen.decide import screen
from site_node.standalone.archive import deidentify_archive
from site_node.standalone.job import DEIDENTIFIED, FileOutcome, Job
from site_node.study import Severity, Validated
from site_node.validate.validation import validate
from tests.factories.dicom import make_ct, make_dx, write_file
from tests.factories.mixed_archive import archive, write_export

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "dicom"
SITE = SiteId("123456")
GRAVITY = (Severity.REJECT, Severity.REVIEW, Severity.WARN, Severity.ACCEPT)
Ends = dict[str, tuple[str, str]]  # outcome and leading code by name in the source


def _film(folder: Path, name: str, **changes: object) -> Dataset:
    dataset = make_dx(**{"study": name, "PatientID": name.upper()} | changes)  # type: ignore[arg-type] # any attribute
    write_file(dataset, folder / f"{name}.dcm")
    return dataset


def _good(folder: Path, name: str) -> None:
    _film(folder, name)


def _series(folder: Path, name: str) -> None:
    for number, dataset in enumerate(make_ct(slices=3, study=name, PatientID=name.upper())):
        write_file(dataset, folder / f"{name}-{number}.dcm")


def _minor(folder: Path, name: str) -> None:
    _film(folder, name, PatientAge="017Y", PatientBirthDate="")


def _nobody(folder: Path, name: str) -> None:
    _film(folder, name, PatientID="")


def _two_patients(folder: Path, name: str) -> None:
    for number, dataset in enumerate(make_ct(slices=2, study=name)):
        dataset.PatientID = f"{name}{number}"
        write_file(dataset, folder / f"{name}-{number}.dcm")


def _copies(folder: Path, name: str) -> None:
    write_file(_film(folder, name), folder / f"{name}-again.dcm")


def _contradiction(folder: Path, name: str) -> None:
    _series(folder, name)
    other = make_ct(slices=3, study=name, PatientID=name.upper())[0]
    other.StudyDescription = "another"
    write_file(other, folder / f"{name}-other.dcm")


def _cut(folder: Path, name: str) -> None:
    _series(folder, name)
    file = folder / f"{name}-1.dcm"
    file.write_bytes(file.read_bytes()[:-10])


def _of_another_kind(folder: Path, name: str) -> None:
    slices = make_ct(slices=3, study=name, PatientID=name.upper())
    slices[1].SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    for number, dataset in enumerate(slices):
        write_file(dataset, folder / f"{name}-{number}.dcm")


def _letter(folder: Path, name: str) -> None:
    (folder / f"{name}.txt").write_text("dear colleague")


KINDS: tuple[Callable[[Path, str], None], ...] = (
    _good, _series, _minor, _nobody, _two_patients, _copies, _contradiction, _cut, _of_another_kind, _letter,
)  # fmt: skip


@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
@settings(max_examples=15)
def test_a_study_ends_the_same_in_the_node_and_by_folder(kinds: list[Callable[[Path, str], None]]) -> None:
    """Every file ends alike, under the same code, and every new file is the same; of the criteria both ask the age."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "source"
        source.mkdir()
        _good(source, "always")
        for number, kind in enumerate(kinds):
            kind(source, f"s{number}")
        make_secret(folder / "key")
        assert _by_folder(source, folder) == _in_the_node(source, folder)


@pytest.mark.slow
def test_every_study_of_the_test_archive_ends_the_same(tmp_path: Path) -> None:
    """Scouts, coronals, laterals, other regions and modalities, children, studies without rows."""
    write_export(tmp_path / "source")
    for number, dataset in enumerate(archive()):
        write_file(dataset, tmp_path / "source" / f"pacs{number}.dcm")
    make_secret(tmp_path / "key")
    assert _by_folder(tmp_path / "source", tmp_path) == _in_the_node(tmp_path / "source", tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the real DICOM files of the developers' data are not here")
def test_every_real_study_ends_the_same(tmp_path: Path) -> None:
    """Of 165 files of many kinds."""
    make_secret(tmp_path / "key")
    (by_folder, files), (in_the_node, others) = _by_folder(REAL, tmp_path), _in_the_node(REAL, tmp_path)
    assert by_folder == in_the_node
    assert files == others
    assert len({end for end, _ in by_folder.values()}) == 4  # deidentified, excluded, quarantined, refused


def _by_folder(source: Path, folder: Path) -> tuple[Ends, dict[str, bytes]]:
    out = folder / "out"
    out.mkdir()
    job = Job(site_id=SITE, key_file=folder / "key", profile="ricord", out=out, pixel_check=False)
    report = deidentify_archive(source, job, Inline())
    ends = {name: _end(file) for name, file in zip(report.names, report.outcomes, strict=True)}
    return ends, {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.dcm")}


def _end(file: FileOutcome) -> tuple[str, str]:
    lead = min(file.reasons, key=lambda reason: GRAVITY.index(reason.severity)).code if file.reasons else ""
    return str(file.outcome), lead if str(file.outcome) != DEIDENTIFIED else ""  # notes of what was mended end nothing


def _in_the_node(source: Path, folder: Path) -> tuple[Ends, dict[str, bytes]]:
    home = init_home(folder / "home", name="Test")
    profile, criteria = load_profile("ricord"), load_criteria("adults")
    pseudonyms = Pseudonyms((folder / "key").read_bytes(), SITE)
    stages = Stages(
        screen=lambda study, released: screen(
            study, criteria=criteria, clinical=None, clinical_checked=False, released=released
        ),
        deidentify=lambda study, out, _: deidentify(study, profile=profile, pseudonyms=pseudonyms, out=out),
        validate=lambda included, output, report, _: validate(
            included, output, profile=profile, pseudonyms=pseudonyms, report=report
        ),
    )
    ledger = Ledger(home.ledger)
    try:
        reception = receive_folder(source, home.spool, pseudonyms)
        enter_reception(reception, home=home, ledger=ledger)
        Pipeline(home, ledger, stages, originals_stay=None).run(State.VALIDATED)
        ends = {file.source: (str(file.ending), file.reason.code) for file in reception.refused}
        ends |= {name: _of_instance(ledger, *instance) for name, instance in reception.sources.items()}
        validated = [Records(home).read(entry.key, Validated).study for entry in ledger.studies(State.VALIDATED)]
    finally:
        ledger.close()
    files = {
        f"{study.patient}/{study.study_instance_uid}/{file.series_instance_uid}/{file.sop_instance_uid}.dcm": file.path
        for study in validated
        for file in study.instances
    }
    return ends, {name: path.read_bytes() for name, path in files.items()}


def _of_instance(ledger: Ledger, key: StudyKey, name: str) -> tuple[str, str]:
    query = "select ending, code from instances where key = ? and name = ?"
    ending, code = ledger._db.execute(query, (key, name)).fetchone()
    return (DEIDENTIFIED, "") if ending == "waiting" else (ending, code)
