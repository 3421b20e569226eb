"""A source of any form ends in one line per file and one folder of new identifiers, in however many runs."""

import json
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from shared.crypto.keys import load_secret
from shared.errors.inputs import InvalidArgument
from shared.errors.settings import HomeBusy
from site_node.node.workers import Inline
from site_node.pixels import inspect as pixels
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.reasons import reason_for
from site_node.standalone import archive
from site_node.standalone.alone import EngineChoice, EngineName, run_standalone
from site_node.standalone.job import FileOutcome, Job
from site_node.standalone.report import report_lines, write_report
from site_node.standalone.resume import KEY_CHECK, exclusive_run
from site_node.study import Deidentified, Ending, Refused
from site_node.validate import validation
from site_node.validate.finding import Finding
from site_node.validate.study_check import StudyCheck, check_study
from tests.factories.dicom import make_ct, make_dx, write_file
from tests.unit.site_node.standalone.conftest import Alone


def codes(file: FileOutcome) -> list[str]:
    return [reason.code for reason in file.reasons]


def outputs(job: Job) -> dict[str, bytes]:
    files = [path for path in job.out.rglob("*") if path.is_file() and path.name != KEY_CHECK]
    return {path.relative_to(job.out).as_posix(): path.read_bytes() for path in files}


def fill(folder: Path, studies: int = 3, slices: int = 2) -> None:
    for study in range(studies):
        for number, dataset in enumerate(make_ct(slices=slices, study=f"ct{study}", PatientID=f"P{study}")):
            write_file(dataset, folder / f"ct{study}-{number}.dcm")


def test_outputs_lie_by_patient_study_series_instance(alone: Alone, job: Job, source: Path) -> None:
    """The path has the identifiers of the file itself; the patient's number is 15 digits of the key's hash."""
    fill(source, studies=1)
    outcomes = alone()
    assert len(outcomes) == 3
    secret = Pseudonyms(load_secret(job.key_file), job.site_id)
    for name, file in outcomes.items():
        original, output = pydicom.dcmread(source / name), pydicom.dcmread(job.out / str(file.output))
        assert file.output == (
            f"{output.PatientID}/{output.StudyInstanceUID}/{output.SeriesInstanceUID}/{output.SOPInstanceUID}.dcm"
        )
        assert output.SOPInstanceUID == secret.uid(original.SOPInstanceUID)
        assert len(str(output.PatientID)) == len("123456-") + 15


@pytest.mark.parametrize("form", ["zip", "zip-in-folder", "dicomdir"])
def test_an_archive_and_a_dicomdir_give_what_the_folder_gives(
    alone: Alone, job: Job, source: Path, tmp_path: Path, form: str
) -> None:
    fill(source, studies=1)
    expected = {name: file.output for name, file in alone().items()}
    expected_outputs = outputs(job)
    if form == "dicomdir":
        for number, name in enumerate(sorted(expected)):
            (source / name).rename(source / f"IM{number}")
        expected = {f"IM{number}": output for number, (_, output) in enumerate(sorted(expected.items()))}
        outcomes = alone(make_dicomdir(source), out=tmp_path / "again")
    else:
        folder = tmp_path / "zips"
        folder.mkdir()
        with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
            for file in sorted(source.iterdir(), reverse=True):
                packed.write(file, file.name)
        outcomes = alone(folder / "a.zip" if form == "zip" else folder, out=tmp_path / "again")
        expected = {f"a.zip!{name}": output for name, output in expected.items()}
    assert {name: file.output for name, file in outcomes.items()} == expected
    assert outputs(job.model_copy(update={"out": tmp_path / "again"})) == expected_outputs


def make_dicomdir(folder: Path) -> Path:
    directory = Dataset()
    directory.DirectoryRecordSequence = []
    for file in sorted(folder.iterdir()):
        record = Dataset()
        record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", file.name
        directory.DirectoryRecordSequence.append(record)
    directory.file_meta = FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    directory.save_as(folder / "DICOMDIR", enforce_file_format=True)
    return folder / "DICOMDIR"


def test_a_damaged_member_of_an_archive_is_refused(alone: Alone, source: Path, tmp_path: Path) -> None:
    """Its check sum shows the damage only when the whole member is read."""
    packed = tmp_path / "a.zip"
    write_file(make_dx(study="bad", PatientID="BAD"), source / "bad.dcm")
    with zipfile.ZipFile(packed, "w") as target:
        for file in sorted(source.iterdir()):
            target.write(file, file.name)
    content = bytearray(packed.read_bytes())
    with zipfile.ZipFile(packed) as archived:
        begin = archived.getinfo("bad.dcm").header_offset
    content[begin + archived.getinfo("bad.dcm").file_size - 50] ^= 0xFF
    packed.write_bytes(content)
    outcomes = alone(packed)
    assert codes(outcomes["a.zip!bad.dcm"]) == ["archive-damaged"]
    assert outcomes["a.zip!good.dcm"].output


class Interrupted(Inline):
    """Is interrupted after some studies; counts those that were processed."""

    def __init__(self, after: int) -> None:
        self.remaining, self.processed = after, 0

    def run(self, work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        for task in tasks:
            if self.remaining == 0:
                raise KeyboardInterrupt
            self.remaining, self.processed = self.remaining - 1, self.processed + 1
            yield task, work(task)


def test_an_interrupted_run_goes_on_where_it_stopped(job: Job, source: Path, tmp_path: Path) -> None:
    """Completed studies are not processed again; the result is the same, byte for byte, as of a single run."""
    fill(source)
    write_file(make_dx(study="child", PatientID="CHILD", PatientAge="009Y", PatientBirthDate=""), source / "child.dcm")
    whole = job.model_copy(update={"out": tmp_path / "whole"})
    whole.out.mkdir()
    expected = archive.deidentify_archive(source, whole, Inline())
    job.out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        archive.deidentify_archive(source, job, Interrupted(3))
    journal = job.out / ".unfinished" / "journal.jsonl"
    assert journal.stat().st_mode & 0o077 == 0
    with journal.open("a") as cut:
        cut.write('["0123')
    engine = Interrupted(100)
    assert archive.deidentify_archive(source, job, engine) == expected
    assert engine.processed == 2
    assert outputs(job) == outputs(whole)
    assert outputs(job).keys() == {file.output for file in expected.outcomes if file.output}


def test_the_journal_says_nothing_of_the_patient(job: Job, source: Path) -> None:
    fill(source)
    job.out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        archive.deidentify_archive(source, job, Interrupted(2))
    written = (job.out / ".unfinished" / "journal.jsonl").read_text()
    film = pydicom.dcmread(source / "good.dcm")
    assert [word for word in ("GOOD", "ct0", "P0", str(source), film.StudyInstanceUID) if word in written] == []


def test_other_options_or_a_changed_file_process_a_study_again(job: Job, source: Path) -> None:
    fill(source)
    job.out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        archive.deidentify_archive(source, job, Interrupted(3))
    again = Interrupted(100)
    archive.deidentify_archive(source, job.model_copy(update={"validated": False}), again)
    assert again.processed == 4
    with pytest.raises(KeyboardInterrupt):
        archive.deidentify_archive(source, job, Interrupted(3))
    write_file(make_ct(slices=1, study="ct0", PatientID="P0")[0], source / "ct0-0.dcm")
    again = Interrupted(100)
    archive.deidentify_archive(source, job, again)
    assert again.processed == 2


def test_only_one_run_writes_into_a_folder(alone: Alone, job: Job) -> None:
    job.out.mkdir()
    with exclusive_run(job.out), pytest.raises(HomeBusy):
        alone()


def test_two_sources_may_share_a_study_and_a_file_refused_later_loses_its_output(
    alone: Alone, job: Job, source: Path, tmp_path: Path
) -> None:
    """A run on one source keeps the outputs of another source; a stricter run removes its own."""
    first_slice, second_slice = make_ct(slices=2, study="ct", PatientID="CT")
    write_file(first_slice, source / "one.dcm")
    other = tmp_path / "other"
    other.mkdir()
    write_file(second_slice, other / "two.dcm")
    first = alone()["one.dcm"]
    second = alone(other)["two.dcm"]
    assert {str(first.output), str(second.output)} <= outputs(job).keys()
    first_slice.PatientAge, first_slice.PatientBirthDate = "009Y", ""
    write_file(first_slice, source / "one.dcm")
    assert alone()["one.dcm"].outcome == Ending.EXCLUDED
    assert str(first.output) not in outputs(job)
    assert str(second.output) in outputs(job)


def test_a_file_that_is_left_out_does_not_stop_its_study_unless_asked(alone: Alone, job: Job, source: Path) -> None:
    """Whatever the reason: broken, of another kind; `whole_studies` leaves the whole study out."""
    slices = make_ct(slices=5, study="ct", PatientID="CT")
    slices[2].SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    for number, dataset in enumerate(slices):
        write_file(dataset, source / f"ct{number}.dcm")
    broken = source / "ct3.dcm"
    broken.write_bytes(broken.read_bytes()[:-10])
    outcomes = alone()
    assert {name for name, file in outcomes.items() if file.output} == {"ct0.dcm", "ct1.dcm", "ct4.dcm", "good.dcm"}
    assert codes(outcomes["ct3.dcm"]) == ["truncated"]
    outcomes = alone(whole_studies=True)
    assert {name for name, file in outcomes.items() if file.output} == {"good.dcm"}
    assert codes(outcomes["ct0.dcm"]) == ["whole-study"]
    assert outputs(job).keys() == {outcomes["good.dcm"].output}
    (source / "ct2.dcm").unlink()
    outcomes = alone(whole_studies=True)
    assert codes(outcomes["ct0.dcm"]) == ["whole-study"], "a broken file of the study counts as well"
    assert outcomes["good.dcm"].output


def test_the_same_data_with_other_file_meta_information_is_a_copy(alone: Alone, source: Path) -> None:
    """File meta information belongs to the writer, here as in the node."""
    again = pydicom.dcmread(write_file(make_dx(study="twice", PatientID="TWICE"), source / "a.dcm"))
    again.file_meta.ImplementationVersionName = "ANOTHER"
    again.save_as(source / "b.dcm")
    assert (source / "a.dcm").read_bytes() != (source / "b.dcm").read_bytes()
    outcomes = alone()
    assert outcomes["a.dcm"].output == outcomes["b.dcm"].output
    assert outcomes["a.dcm"].output


@pytest.mark.parametrize("validated", [True, False])
def test_copies_share_an_output_and_contradictions_are_quarantined(
    alone: Alone, source: Path, *, validated: bool
) -> None:
    film = make_dx(study="twice", PatientID="TWICE")
    for name in ("a.dcm", "b.dcm"):
        write_file(film, source / name)
    other = make_dx(study="odd", PatientID="ODD")
    write_file(other, source / "c.dcm")
    other.StudyDescription = "another"
    write_file(other, source / "d.dcm")
    clash = make_dx(study="elsewhere", PatientID="ODD")
    clash.SOPInstanceUID = film.SOPInstanceUID
    outcomes = alone(validated=validated)
    assert outcomes["a.dcm"].output == outcomes["b.dcm"].output
    assert outcomes["a.dcm"].output
    assert codes(outcomes["c.dcm"]) == codes(outcomes["d.dcm"]) == ["other-bytes"]
    write_file(clash, source / "e.dcm")
    outcomes = alone(validated=validated)
    conflicting = {name for name, file in outcomes.items() if codes(file) == ["other-bytes"]}
    assert conflicting == {f"{letter}.dcm" for letter in "abcde"}


@pytest.mark.parametrize("patients", [("P0", "P1"), ("P0", "")])
def test_a_study_of_two_patients_is_quarantined(alone: Alone, source: Path, patients: tuple[str, str]) -> None:
    """A file that names no patient may be another's."""
    for patient, dataset in zip(patients, make_ct(slices=2, study="ct"), strict=True):
        dataset.PatientID = patient
        write_file(dataset, source / f"ct{patient}.dcm")
    outcomes = alone()
    assert [codes(outcomes[f"ct{patient}.dcm"]) for patient in patients] == [["mixed-patients"]] * 2


@pytest.mark.parametrize("bad", [0, 3, 6])
def test_validation_stops_the_file_at_fault_alone(
    alone: Alone, job: Job, source: Path, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    """A study that fails validation is validated in parts until the files at fault are known."""
    fill(source, studies=1, slices=7)

    def strict(study: Any, output: Deidentified, **more: Any) -> StudyCheck:
        checked = check_study(study, output, **more)
        if any(instance.source.path.name == f"ct0-{bad}.dcm" for instance in output.instances):
            return checked._replace(of_files=(Finding(code="number-in-text"),))
        return checked

    monkeypatch.setattr(validation, "check_study", strict)
    outcomes = alone()
    assert {name for name, file in outcomes.items() if file.output is None} == {f"ct0-{bad}.dcm"}
    assert outputs(job).keys() == {file.output for file in outcomes.values() if file.output}


def test_text_stops_a_whole_ct_series_but_only_the_film_that_shows_it(
    alone: Alone, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only some slices of a CT series are inspected, so text on a slice stops the series; films are inspected each."""
    fill(source, studies=1)
    write_file(make_dx(study="two", view="AP", PatientID="TWO"), source / "ap.dcm")
    write_file(make_dx(study="two", view="PA", PatientID="TWO"), source / "pa.dcm")

    def find_text(study: Deidentified, released: object, **more: object) -> Refused | None:
        if {instance.source.path.name for instance in study.instances} & {"ct0-1.dcm", "ap.dcm"}:
            return Refused(key=study.key, ending=Ending.QUARANTINED, reasons=(reason_for("burned-in-text"),))
        return None

    monkeypatch.setattr(pixels, "inspect", find_text)
    outcomes = alone(pixel_check=True)
    assert {name for name, file in outcomes.items() if file.output} == {"pa.dcm", "good.dcm"}
    assert outcomes["ap.dcm"].outcome == Ending.QUARANTINED


@pytest.mark.slow
def test_two_workers_make_the_same_files(alone: Alone, job: Job, source: Path, tmp_path: Path) -> None:
    fill(source)
    inline = alone()
    parallel = alone(choice=EngineChoice(workers=2), out=tmp_path / "parallel")
    assert inline == parallel
    assert outputs(job) == outputs(job.model_copy(update={"out": tmp_path / "parallel"}))


def test_the_report_has_a_line_for_each_file_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    """A name that is not UTF-8 has its bytes escaped."""
    report = tmp_path / "report.jsonl"
    report.write_text("old")
    report.chmod(0o644)
    outcomes = (FileOutcome("deidentified", output="a/b"), FileOutcome.left_out("disk-full"))
    write_report(report, report_lines(("good.dcm", "b\udcffd"), outcomes))
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert [list(line) for line in lines] == [["source", "outcome", "reasons", "output"]] * 2
    assert lines[0] == {"source": "good.dcm", "outcome": "deidentified", "reasons": [], "output": "a/b"}
    assert (lines[1]["outcome"], lines[1]["output"]) == ("refused", None)
    assert set(lines[1]["reasons"][0]) == {"code", "message", "severity", "attribute"}
    assert report.stat().st_mode & 0o777 == 0o600


def test_a_report_replaces_nothing_but_a_report(alone_at: Callable[[Path], object], job: Job, source: Path) -> None:
    """Neither the key, nor an original, nor an output, nor any other file; refused before anything is read."""
    other = job.key_file.with_name("other.txt")
    other.write_text("dear colleague")
    files = (job.key_file, source / "good.dcm", other)
    before = [file.read_bytes() for file in files]
    for report in (*files, source / "new.jsonl", job.out / "new.jsonl", source.parent / "none" / "new.jsonl"):
        with pytest.raises(InvalidArgument, match="--report"):
            alone_at(report)
    assert [file.read_bytes() for file in files] == before
    for _ in range(2):  # the second replaces the first
        alone_at(source.parent / "report.jsonl")


@pytest.fixture
def alone_at(job: Job, source: Path) -> Callable[[Path], object]:
    """De-identifies the source with a report at the path."""
    return lambda report: run_standalone(source, job, EngineChoice(), report)


def test_an_output_folder_that_cannot_be_written_is_refused(
    alone: Alone, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the folder's fault, no study's."""
    job.out.parent.joinpath("file").touch()
    with pytest.raises(InvalidArgument, match="OUT"):
        alone(out=job.out.parent / "file" / "out")
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != job.out)
    with pytest.raises(InvalidArgument, match="OUT"):
        alone()


def test_a_file_name_that_is_no_text_is_as_good_as_another(alone: Alone, source: Path) -> None:
    """An old archive's names may be of any encoding."""
    name = os.fsdecode(b"caf\xe9.dcm")
    write_file(make_dx(study="odd", PatientID="ODD"), source / "plain.dcm").rename(source / name)
    assert alone()[name].output


def test_an_output_in_the_source_is_refused(alone: Alone, source: Path) -> None:
    for out in (source, source / "out", source.parent):
        with pytest.raises(InvalidArgument):
            alone(out=out)
    with pytest.raises(InvalidArgument, match="--engine ray"):
        alone(choice=EngineChoice(EngineName.PROCESS, ray_address="local"))
