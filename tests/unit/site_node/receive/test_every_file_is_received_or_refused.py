"""Every file of a source becomes part of a study or is refused with a reason."""

import hashlib
import io
import os
import re
import warnings
import zipfile
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MediaStorageDirectoryStorage,
)

from shared.errors.inputs import NoDicomFound, SourceMissing
from shared.errors.studies import DicomUnreadable
from site_node.dicom.data_digest import data_digest
from site_node.dicom.header import Header
from site_node.dicom.reading import read_header
from site_node.reasons import catalogue
from site_node.receive.folder import Reception
from site_node.study import Ending
from tests.factories.dicom import make_ct, make_dx, write_file
from tests.unit.site_node.receive.conftest import receive


def codes(reception: Reception) -> dict[str, str]:
    return {file.source: file.reason.code for file in reception.refused}


def write_ct(folder: Path, **changes: object) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    datasets = make_ct(slices=3, rows=8, **changes)  # type: ignore[arg-type]  # attribute changes are any
    return [write_file(dataset, folder / f"slice{number}.dcm") for number, dataset in enumerate(datasets)]


def test_a_folder_however_deep_becomes_studies_under_opaque_names(source: Path) -> None:
    """Two studies in nested folders arrive whole, byte for byte, under names that reveal nothing."""
    write_ct(source / "DOE^JANE" / "deep" / "deeper", study="one")
    film = write_file(make_dx(rows=8, study="two"), source / "film.dcm")
    reception = receive(source)
    assert sorted(len(study.instances) for study in reception.studies) == [1, 3]
    assert (reception.refused, reception.duplicates, reception.held) == ((), 0, {})
    spool = source.parent / "spool"
    names = {path.relative_to(spool).as_posix() for path in spool.rglob("*.dcm")}
    assert names == {f"{s.key}/{i.path.name}" for s in reception.studies for i in s.instances}
    assert all(re.fullmatch(r"[0-9a-f]{32}/[0-9a-f]{32}\.dcm", name) for name in names)
    (dx,) = (study for study in reception.studies if len(study.instances) == 1)
    assert dx.instances[0].path.read_bytes() == film.read_bytes()
    assert dx.instances[0].path.stat().st_mode & 0o077 == 0


def test_receiving_again_finds_the_same(source: Path) -> None:
    """A reception killed half-way is repeated: same studies, same names, no leftover copy."""
    write_ct(source)
    first = receive(source)
    (source.parent / "spool" / "arriving").mkdir()
    (source.parent / "spool" / "arriving" / "file").write_bytes(b"half")
    assert receive(source) == first
    assert not (source.parent / "spool" / "arriving").exists()


def test_a_zip_archive_is_read_without_unpacking_names(source: Path, tmp_path: Path) -> None:
    """Members arrive; a name that leads out, an archive in the archive and text are refused; nothing lands outside."""
    files = write_ct(tmp_path / "files")
    with zipfile.ZipFile(source / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, f"PAT/{file.name}")
        archive.write(files[0], "../../outside.dcm")
        archive.writestr("inner.zip", b"PK")
        archive.writestr("note.txt", b"hello")
    for folder_or_archive in (source, source / "export.zip"):
        reception = receive(folder_or_archive)
        assert [len(study.instances) for study in reception.studies] == [3]
        assert codes(reception) == {
            "export.zip!../../outside.dcm": "path-outside",
            "export.zip!inner.zip": "nested-archive",
            "export.zip!note.txt": "not-dicom",
        }
    assert not list(tmp_path.rglob("outside.dcm"))


def test_a_damaged_archive_is_refused_and_other_files_are_received(source: Path) -> None:
    write_ct(source / "ct")
    with zipfile.ZipFile(source / "bad.zip", "w") as archive:
        archive.writestr("film.dcm", write_file(make_dx(rows=8), source / "x").read_bytes())
    (source / "x").unlink()
    content = bytearray((source / "bad.zip").read_bytes())
    content[700] ^= 0xFF
    (source / "bad.zip").write_bytes(content)
    reception = receive(source)
    assert codes(reception) == {"bad.zip!film.dcm": "archive-damaged"}
    assert len(reception.studies) == 1


def test_a_dicomdir_finds_files_and_leads_nowhere_else(source: Path) -> None:
    """Listed files are received; one that is missing, or whose name leads out of the medium, is refused."""
    for number, file in enumerate(write_ct(source / "IMAGES")):
        file.rename(source / "IMAGES" / f"SLICE{number}")
    write_file(make_dx(rows=8), source.parent / "SECRET")
    directory = make_dicomdir([["IMAGES", "SLICE0"], ["IMAGES", "SLICE1"], ["SENT_OR_SEALED"], ["..", "SECRET"]])
    directory.save_as(source / "DICOMDIR", enforce_file_format=True)
    reception = receive(source / "DICOMDIR")
    assert [len(study.instances) for study in reception.studies] == [2]
    refused = {"SENT_OR_SEALED": "listed-but-missing", "../SECRET": "path-outside"}
    assert codes(reception) == {**refused, "IMAGES/SLICE2": "not-in-dicomdir"}
    reception = receive(source)
    assert codes(reception) == {"SENT_OR_SEALED": "listed-but-missing", "../SECRET": "path-outside"}
    assert "DICOMDIR" not in reception.names, "the index is no file that could be refused"


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_one_exam_in_two_encodings_counts_once(source: Path, syntax: str) -> None:
    """From a PACS, which rewrote it, and from a folder: the first stays, now and when it comes again."""
    film = make_dx(rows=8)
    write_file(film, source / "a.dcm", syntax)
    first = receive(source)
    write_file(film, source / "0.dcm", ExplicitVRLittleEndian)
    again = receive(source)
    assert (codes(again), again.conflicts, again.duplicates) == ({}, (), 1)
    assert again.studies == first.studies
    assert sum(1 for _ in (source.parent / "spool").rglob("*.dcm")) == 1


@pytest.mark.parametrize(
    "on_disk", ["IMAGES/SLICE{}", "images/slice{}", "IMAGES/SLICE{}.dcm", "Images/Slice{}.DCM", "images/slice{};1"]
)
@pytest.mark.parametrize("index", ["DICOMDIR", "dicomdir", "dicomdir;1"])
def test_a_medium_mounted_or_copied_otherwise_is_the_same_medium(source: Path, index: str, on_disk: str) -> None:
    """Names are matched without case, version and extension; a file that the index does not name is told of."""
    for number, file in enumerate(write_ct(source / "new")):
        target = source / on_disk.format(number)
        target.parent.mkdir(exist_ok=True)
        file.rename(target)
    (source / "new").rmdir()
    names = [["IMAGES", f"SLICE{number}"] for number in range(3)]
    make_dicomdir([*names, ["IMAGES", "GONE"]]).save_as(source / index, enforce_file_format=True)
    write_file(make_dx(rows=8, study="extra"), source / "EXTRA")
    (source / "AUTORUN.INF").write_text("no image")
    medium, folder = receive(source / index), receive(source)
    assert [len(study.instances) for study in medium.studies] == [3]
    assert codes(medium) == {"IMAGES/GONE": "listed-but-missing", "EXTRA": "not-in-dicomdir"}
    assert codes(folder) == {"IMAGES/GONE": "listed-but-missing", "AUTORUN.INF": "not-dicom"}
    assert sorted(len(study.instances) for study in folder.studies) == [1, 3]


@pytest.mark.parametrize("is_in_folder", [False, True])
def test_an_archive_cut_short_says_so(source: Path, *, is_in_folder: bool) -> None:
    """Without its directory at the end no member is known, so the archive is refused as one file."""
    packed = source / "cut.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in write_ct(source.parent / "ct"):
            archive.write(file, file.name)
    packed.write_bytes(packed.read_bytes()[:-60])
    assert codes(receive(source if is_in_folder else packed)) == {"cut.zip": "archive-damaged"}
    assert "cut short" in catalogue()["archive-damaged"].sentence


def test_an_archive_that_would_fill_the_disk_is_not_unpacked(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sizes that it states are summed first; images compress to a tenth, not to a thousandth."""
    packed = source / "bomb.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.dcm", bytes(1 << 20))
    monkeypatch.setattr("site_node.receive.source._HARMLESS", 1 << 10)
    assert codes(receive(source)) == {"bomb.zip": "archive-too-large"}
    monkeypatch.setattr("site_node.receive.source._HARMLESS", 1 << 21)
    monkeypatch.setattr("site_node.receive.source._MOST_UNPACKED", 1 << 19)
    assert codes(receive(source)) == {"bomb.zip": "archive-too-large"}


def test_an_unknown_representation_is_no_cut_file(source: Path) -> None:
    """Pydicom takes the bytes after it for a length that leads past the end."""
    path = write_file(make_dx(rows=8), source / "film.dcm")
    content = path.read_bytes()
    place = content.index(b"\x20\x00\x0d\x00UI")
    path.write_bytes(content[:place] + b"\x18\x00\xff\x7f??\x06\x00CHEST " + content[place:])
    assert codes(receive(source)) == {"film.dcm": "malformed-element"}


def make_dicomdir(names: list[list[str]]) -> Dataset:
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    records = []
    for parts in names:
        record = Dataset()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom rightly calls `..` no valid component
            record.ReferencedFileID = parts
        records.append(record)
    directory.DirectoryRecordSequence = Sequence(records)
    return directory


def test_links_are_never_followed_out_or_round(source: Path) -> None:
    """A link out, round or nowhere is refused by name; one that leads inside adds nothing; a pipe is not opened."""
    write_ct(source / "ct")
    outside = write_file(make_dx(rows=8), source.parent / "outside.dcm")
    (source / "out.dcm").symlink_to(outside)
    (source / "round").symlink_to(source)
    (source / "self").symlink_to(source / "self")
    (source / "gone").symlink_to(source / "nothing")
    (source / "again").symlink_to(source / "ct")
    os.mkfifo(source / "pipe")
    reception = receive(source)
    assert [len(study.instances) for study in reception.studies] == [3]
    assert reception.duplicates == 0
    assert codes(reception) == {
        "out.dcm": "link-outside",
        "round": "link-loop",
        "self": "link-loop",
        "gone": "link-broken",
        "pipe": "not-a-file",
    }


def test_what_is_no_whole_dicom_is_refused_with_its_reason(source: Path) -> None:
    files = write_ct(source)
    whole = files[0].read_bytes()
    (source / "empty.dcm").write_bytes(b"")
    (source / "text.dcm").write_text("this is a letter about Jane Doe\n" * 20)
    (source / "cut-pixels.dcm").write_bytes(whole[:-20])
    (source / "cut-header.dcm").write_bytes(whole[:300])
    (source / "preamble-only.dcm").write_bytes(whole[:132])
    reception = receive(source)
    assert [len(study.instances) for study in reception.studies] == [3]
    reasons = codes(reception)
    assert reasons["empty.dcm"] == "empty-file"
    assert reasons["text.dcm"] == "not-dicom"
    assert reasons["cut-pixels.dcm"] == "truncated"
    assert set(reasons) == {"empty.dcm", "text.dcm", "cut-pixels.dcm", "cut-header.dcm", "preamble-only.dcm"}
    assert all(file.ending is Ending.REFUSED for file in reception.refused)
    assert sum(1 for _ in (source.parent / "spool").rglob("*.dcm")) == 3


@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        JPEG2000Lossless,
    ],
)
def test_every_transfer_syntax_is_received_whole_and_refused_cut(source: Path, syntax: str) -> None:
    path = write_file(make_dx(rows=64), source / "film.dcm", syntax)
    (study,) = receive(source).studies
    assert study.instances[0].transfer_syntax_uid == syntax
    path.write_bytes(path.read_bytes()[:-30])
    reception = receive(source)
    if syntax != DeflatedExplicitVRLittleEndian:  # later stages check deflated data
        assert [file.reason.code for file in reception.refused] == ["truncated"]


def test_a_file_without_a_preamble_is_received(source: Path) -> None:
    """Old archives hold such files; de-identification handles them on its slow path."""
    path = write_file(make_dx(rows=8), source / "film.dcm")
    (source / "film.dcm").write_bytes(path.read_bytes()[132:])
    assert len(receive(source).studies) == 1


def test_the_same_instance_twice_counts_once(source: Path) -> None:
    (path, *_) = write_ct(source / "a")
    (source / "copy.dcm").write_bytes(path.read_bytes())
    reception = receive(source)
    assert [len(study.instances) for study in reception.studies] == [3]
    assert reception.duplicates == 1


def test_what_another_program_wrote_around_the_same_data_makes_no_other_instance(source: Path) -> None:
    """Each writer has its own file meta information: a copy from a PACS is a duplicate, and replaces nothing."""
    (path, *_) = write_ct(source / "a")
    again = pydicom.dcmread(path)
    again.file_meta.ImplementationVersionName = "ANOTHER"
    again.file_meta.SourceApplicationEntityTitle = "PACS"
    again.save_as(source / "b.dcm")
    assert (source / "b.dcm").read_bytes() != path.read_bytes()
    reception = receive(source)
    assert ([len(study.instances) for study in reception.studies], reception.duplicates) == ([3], 1)
    for instance in reception.studies[0].instances:
        assert hashlib.sha256(instance.path.read_bytes()).hexdigest() == instance.sha256
    (source / "a" / path.name).unlink()
    assert {instance.path for instance in receive(source).studies[0].instances} == {
        instance.path for instance in reception.studies[0].instances
    }, "also if only the copy is received"


@pytest.mark.parametrize("meta", [b"", b"\x02\x00\x10\x00UI\xff\xff", b"\x02\x00\x01\x00OB\0\0\xff\xff\xff\x7f"])
def test_the_digest_covers_the_whole_file_if_its_meta_information_is_broken(meta: bytes) -> None:
    """Two files do not count as one because their meta information leads past their end."""
    header = Header(
        study_instance_uid="1", series_instance_uid="1", sop_instance_uid="1", sop_class_uid="1",
        transfer_syntax_uid="1", identity=None,
    )  # fmt: skip
    files = [bytes(128) + b"DICM" + meta + data for data in (b"one", b"two")]
    assert len({data_digest(io.BytesIO(content), header) for content in files}) == len(files)


def test_one_uid_with_other_bytes_quarantines_every_version(source: Path) -> None:
    """Nothing is guessed: no version is received, but the other instances of the study are."""
    (first, *_) = make_ct(slices=3, rows=8)
    write_ct(source)
    first.ImageComments = "changed"
    write_file(first, source / "other.dcm")
    reception = receive(source)
    assert [len(study.instances) for study in reception.studies] == [2]
    assert codes(reception) == {"other.dcm": "other-bytes", "slice0.dcm": "other-bytes"}
    assert {file.ending for file in reception.refused} == {Ending.QUARANTINED}
    (versions,) = reception.conflicts
    assert len({instance.path.read_bytes() for instance in versions.instances}) == 2, "for the person who chooses"


@pytest.mark.parametrize(
    ("changes", "code"), [({"PatientID": None}, "no-patient-id"), ({"PatientID": "  "}, "no-patient-id")]
)
def test_a_study_without_patient_is_held(source: Path, changes: dict[str, object], code: str) -> None:
    write_ct(source, **changes)
    reception = receive(source)
    (study,) = reception.studies
    assert study.identity is None
    assert reception.held[study.key].code == code


def test_two_patients_in_one_study_are_held(source: Path) -> None:
    write_ct(source / "a", PatientID="P1")
    for number, dataset in enumerate(make_ct(slices=2, rows=8, plane="coronal", PatientID="P2")):
        write_file(dataset, source / f"b{number}.dcm")
    reception = receive(source)
    (study,) = reception.studies
    assert study.identity is None
    assert reception.held[study.key].code == "mixed-patients"


def test_a_source_without_dicom_says_so(source: Path) -> None:
    with pytest.raises(NoDicomFound):
        receive(source)
    (source / "letter.dcm").write_text("no image")
    with pytest.raises(NoDicomFound):
        receive(source)
    with pytest.raises(SourceMissing):
        receive(source / "nowhere")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_mutation_of_a_file_raises_anything_but_a_refusal(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever its bytes, a file's header is read or the file is refused with a known reason."""
    base = tmp_path / "base.dcm"
    if not base.exists():
        write_file(make_dx(rows=8), base)
    content = bytearray(base.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(0, len(content)))])
    mutated = tmp_path / "mutated.dcm"
    mutated.write_bytes(cut)
    reason = "read"
    with mutated.open("rb") as stream:
        try:
            read_header(stream, len(cut))
        except DicomUnreadable as error:
            reason = error.fields["reason"]
    assert reason == "read" or reason in catalogue()
