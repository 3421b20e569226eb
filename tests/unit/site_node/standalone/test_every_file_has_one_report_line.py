"""A source of any form ends in one line a file and one folder of new identifiers, in however many runs."""

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from shared.crypto.keys import load_secret
from shared.errors import HomeBusy, InvalidArgument
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.standalone import archive, stages
from site_node.standalone.alone import EngineChoice, EngineName
from site_node.standalone.engine import Inline
from site_node.standalone.reasons import fate
from site_node.standalone.report import lines, write_report
from site_node.standalone.resume import only_run
from site_node.standalone.tasks import FileOutcome, Job, StudyTask
from site_node.study import Deidentified, Ending, Refused
from site_node.validate.validation import validate
from tests.factories.dicom import make_ct, make_dx, write_file
from tests.unit.site_node.standalone.conftest import Alone


def codes(one: FileOutcome) -> list[str]:
    return [reason.code for reason in one.reasons]


def outputs(job: Job) -> dict[str, bytes]:
    return {path.relative_to(job.out).as_posix(): path.read_bytes() for path in job.out.rglob("*") if path.is_file()}


def fill(folder: Path, studies: int = 3, slices: int = 2) -> None:
    for study in range(studies):
        for number, one in enumerate(make_ct(slices=slices, study=f"ct{study}", PatientID=f"P{study}")):
            write_file(one, folder / f"ct{study}-{number}.dcm")


def test_outputs_lie_by_patient_study_series_instance(alone: Alone, job: Job, source: Path) -> None:
    """All four are what the file says of itself, and the patient's number is 15 digits of the key's hash."""
    fill(source, studies=1)
    fates = alone()
    assert len(fates) == 3
    secret = Pseudonyms(load_secret(job.key_file), job.site_id)
    for name, each in fates.items():
        original, made = pydicom.dcmread(source / name), pydicom.dcmread(job.out / str(each.output))
        assert each.output == (
            f"{made.PatientID}/{made.StudyInstanceUID}/{made.SeriesInstanceUID}/{made.SOPInstanceUID}.dcm"
        )
        assert made.SOPInstanceUID == secret.uid(original.SOPInstanceUID)
        assert len(str(made.PatientID)) == len("123456-") + 15


@pytest.mark.parametrize("form", ["zip", "zip-in-folder", "dicomdir"])
def test_an_archive_and_a_dicomdir_give_what_the_folder_gives(
    alone: Alone, job: Job, source: Path, tmp_path: Path, form: str
) -> None:
    fill(source, studies=1)
    expected = {name: each.output for name, each in alone().items()}
    before = outputs(job)
    if form == "dicomdir":
        for number, name in enumerate(sorted(expected)):
            (source / name).rename(source / f"IM{number}")
        expected = {f"IM{number}": output for number, (_, output) in enumerate(sorted(expected.items()))}
        fates = alone(make_dicomdir(source), out=tmp_path / "again")
    else:
        folder = tmp_path / "zips"
        folder.mkdir()
        with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
            for file in sorted(source.iterdir(), reverse=True):
                packed.write(file, file.name)
        fates = alone(folder / "a.zip" if form == "zip" else folder, out=tmp_path / "again")
        expected = {f"a.zip!{name}": output for name, output in expected.items()}
    assert {name: each.output for name, each in fates.items()} == expected
    assert outputs(job.model_copy(update={"out": tmp_path / "again"})) == before


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
    """Its check sum shows it only when the whole of it is read."""
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
    fates = alone(packed)
    assert codes(fates["a.zip!bad.dcm"]) == ["archive-damaged"]
    assert fates["a.zip!good.dcm"].output


class Interrupted(Inline):
    """Is interrupted after some studies; counts those that were worked on."""

    def __init__(self, after: int) -> None:
        self.left, self.worked = after, 0

    def run(self, work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        for task in tasks:
            if isinstance(task, StudyTask):
                if self.left == 0:
                    raise KeyboardInterrupt
                self.left, self.worked = self.left - 1, self.worked + 1
            yield task, work(task)


def test_an_interrupted_run_goes_on_where_it_stopped(job: Job, source: Path, tmp_path: Path) -> None:
    """Studies that were done are not done again; the end is the same, byte for byte, as in one go."""
    fill(source)
    write_file(make_dx(study="child", PatientID="CHILD", PatientAge="009Y"), source / "child.dcm")
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
    rest = Interrupted(100)
    assert archive.deidentify_archive(source, job, rest) == expected
    assert rest.worked == 2
    assert outputs(job) == outputs(whole)
    assert outputs(job).keys() == {each.output for each in expected.fates if each.output}


def test_the_journal_says_nothing_of_the_patient(job: Job, source: Path) -> None:
    fill(source)
    job.out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        archive.deidentify_archive(source, job, Interrupted(2))
    written = (job.out / ".unfinished" / "journal.jsonl").read_text()
    film = pydicom.dcmread(source / "good.dcm")
    assert [word for word in ("GOOD", "ct0", "P0", str(source), film.StudyInstanceUID) if word in written] == []


def test_what_is_asked_for_differently_or_changed_is_done_again(job: Job, source: Path) -> None:
    fill(source)
    job.out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        archive.deidentify_archive(source, job, Interrupted(3))
    again = Interrupted(100)
    archive.deidentify_archive(source, job.model_copy(update={"validated": False}), again)
    assert again.worked == 4
    with pytest.raises(KeyboardInterrupt):
        archive.deidentify_archive(source, job, Interrupted(3))
    write_file(make_ct(slices=1, study="ct0", PatientID="P0")[0], source / "ct0-0.dcm")
    again = Interrupted(100)
    archive.deidentify_archive(source, job, again)
    assert again.worked == 2


def test_only_one_run_writes_into_a_folder(alone: Alone, job: Job) -> None:
    job.out.mkdir()
    with only_run(job.out), pytest.raises(HomeBusy):
        alone()


def test_two_sources_may_share_a_study_and_a_file_that_is_refused_later_leaves(
    alone: Alone, job: Job, source: Path, tmp_path: Path
) -> None:
    """The outputs of one source do not make those of another vanish; a stricter run removes its own."""
    one, two = make_ct(slices=2, study="ct", PatientID="CT")
    write_file(one, source / "one.dcm")
    other = tmp_path / "other"
    other.mkdir()
    write_file(two, other / "two.dcm")
    first = alone()["one.dcm"]
    second = alone(other)["two.dcm"]
    assert {str(first.output), str(second.output)} <= outputs(job).keys()
    one.PatientAge = "009Y"
    write_file(one, source / "one.dcm")
    assert alone()["one.dcm"].outcome == Ending.EXCLUDED
    assert str(first.output) not in outputs(job)
    assert str(second.output) in outputs(job)


def test_a_file_that_is_not_taken_does_not_stop_its_study_unless_asked(alone: Alone, job: Job, source: Path) -> None:
    """Whatever the reason: broken, nobody's, of another kind; with `whole_studies` none of the study is taken."""
    slices = make_ct(slices=5, study="ct", PatientID="CT")
    slices[1].PatientID = ""
    slices[2].SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    for number, one in enumerate(slices):
        write_file(one, source / f"ct{number}.dcm")
    broken = source / "ct3.dcm"
    broken.write_bytes(broken.read_bytes()[:-10])
    fates = alone()
    assert {name for name, each in fates.items() if each.output} == {"ct0.dcm", "ct4.dcm", "good.dcm"}
    assert codes(fates["ct1.dcm"]) == ["no-patient-id"]
    assert codes(fates["ct3.dcm"]) == ["truncated"]
    fates = alone(whole_studies=True)
    assert {name for name, each in fates.items() if each.output} == {"good.dcm"}
    assert codes(fates["ct0.dcm"]) == ["whole-study"]
    assert outputs(job).keys() == {fates["good.dcm"].output}
    for name in ("ct1.dcm", "ct2.dcm"):
        (source / name).unlink()
    fates = alone(whole_studies=True)
    assert codes(fates["ct0.dcm"]) == ["whole-study"], "a broken file of the study counts as well"
    assert fates["good.dcm"].output


def test_what_another_program_wrote_around_the_same_data_is_a_copy(alone: Alone, source: Path) -> None:
    """File meta information is each writer's own, here as in the node."""
    again = pydicom.dcmread(write_file(make_dx(study="twice", PatientID="TWICE"), source / "a.dcm"))
    again.file_meta.ImplementationVersionName = "ANOTHER"
    again.save_as(source / "b.dcm")
    assert (source / "a.dcm").read_bytes() != (source / "b.dcm").read_bytes()
    fates = alone()
    assert fates["a.dcm"].output == fates["b.dcm"].output
    assert fates["a.dcm"].output


def test_copies_share_an_output_and_contradictions_are_quarantined(alone: Alone, source: Path) -> None:
    film = make_dx(study="twice", PatientID="TWICE")
    for name in ("a.dcm", "b.dcm"):
        write_file(film, source / name)
    other = make_dx(study="odd", PatientID="ODD")
    write_file(other, source / "c.dcm")
    other.StudyDescription = "another"
    write_file(other, source / "d.dcm")
    clash = make_dx(study="elsewhere", PatientID="ODD")
    clash.SOPInstanceUID = film.SOPInstanceUID
    fates = alone()
    assert fates["a.dcm"].output == fates["b.dcm"].output
    assert fates["a.dcm"].output
    assert codes(fates["c.dcm"]) == codes(fates["d.dcm"]) == ["other-bytes"]
    write_file(clash, source / "e.dcm")
    fates = alone()
    assert {name for name, each in fates.items() if codes(each) == ["other-bytes"]} == {f"{one}.dcm" for one in "abcde"}


def test_two_patients_in_a_study_are_quarantined(alone: Alone, source: Path) -> None:
    for number, one in enumerate(make_ct(slices=2, study="ct")):
        one.PatientID = f"P{number}"
        write_file(one, source / f"ct{number}.dcm")
    assert codes(alone()["ct0.dcm"]) == ["mixed-patients"]


@pytest.mark.parametrize("bad", [0, 3, 6])
def test_validation_stops_the_file_at_fault_alone(
    alone: Alone, job: Job, source: Path, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    """What validation says of a study is asked of its parts until the files at fault are known."""
    fill(source, studies=1, slices=7)

    def strict(study: Any, output: Deidentified, **more: Any) -> Any:
        if any(one.source.path.name == f"ct0-{bad}.dcm" for one in output.instances):
            return Refused(key=output.key, ending=Ending.REFUSED, reasons=fate("whole-study").reasons)
        return validate(study, output, **more)

    monkeypatch.setattr(stages, "validate", strict)
    fates = alone()
    assert {name for name, each in fates.items() if each.output is None} == {f"ct0-{bad}.dcm"}
    assert outputs(job).keys() == {each.output for each in fates.values() if each.output}


def test_text_stops_a_ct_series_as_one_and_a_film_alone(
    alone: Alone, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only some slices of a CT series are looked at, so text on one stands for all; a film is looked at whole."""
    fill(source, studies=1)
    write_file(make_dx(study="two", view="AP", PatientID="TWO"), source / "ap.dcm")
    write_file(make_dx(study="two", view="PA", PatientID="TWO"), source / "pa.dcm")

    def found(study: Deidentified, released: object, **more: object) -> Refused | None:
        if {one.source.path.name for one in study.instances} & {"ct0-1.dcm", "ap.dcm"}:
            return Refused(key=study.key, ending=Ending.QUARANTINED, reasons=fate("whole-study").reasons)
        return None

    monkeypatch.setattr(stages, "inspect", found)
    fates = alone(pixel_check=True)
    assert {name for name, each in fates.items() if each.output} == {"pa.dcm", "good.dcm"}
    assert fates["ap.dcm"].outcome == Ending.QUARANTINED


def test_two_workers_make_the_same_files(alone: Alone, job: Job, source: Path, tmp_path: Path) -> None:
    fill(source)
    inline = alone()
    spread = alone(choice=EngineChoice(workers=2), out=tmp_path / "spread")
    assert inline == spread
    assert outputs(job) == outputs(job.model_copy(update={"out": tmp_path / "spread"}))


def test_the_report_has_a_line_for_each_file_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    """A name that is no UTF-8 has its bytes escaped."""
    report = tmp_path / "report.jsonl"
    report.write_text("old")
    report.chmod(0o644)
    fates = (FileOutcome("deidentified", output="a/b"), FileOutcome(Ending.REFUSED, fate("disk-full").reasons))
    write_report(report, lines(("good.dcm", "b\udcffd"), fates))
    told = [json.loads(line) for line in report.read_text().splitlines()]
    assert [list(line) for line in told] == [["source", "outcome", "reasons", "output"]] * 2
    assert told[0] == {"source": "good.dcm", "outcome": "deidentified", "reasons": [], "output": "a/b"}
    assert (told[1]["outcome"], told[1]["output"]) == ("refused", None)
    assert set(told[1]["reasons"][0]) == {"code", "message", "severity", "attribute"}
    assert report.stat().st_mode & 0o777 == 0o600


def test_an_output_in_the_source_is_refused(alone: Alone, source: Path) -> None:
    for out in (source, source / "out", source.parent):
        with pytest.raises(InvalidArgument):
            alone(out=out)
    with pytest.raises(InvalidArgument, match="--engine ray"):
        alone(choice=EngineChoice(EngineName.PROCESS, ray_address="local"))
