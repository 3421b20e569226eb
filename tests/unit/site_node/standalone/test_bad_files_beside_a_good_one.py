"""Whatever lies beside a good film: it gets a reason and no output, and the film is de-identified."""

import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors.inputs import NoDicomFound
from shared.errors.settings import KeyFileInvalid, KeyFileMissing, KeyFileOpen
from shared.errors.storage import DiskFull
from site_node.deidentify import batch
from site_node.deidentify.assemble import NewFile
from site_node.deidentify.output import write_new
from site_node.deidentify.study import deidentify
from site_node.node.workers import Inline
from site_node.standalone import archive, temporary_node
from site_node.standalone.job import FileOutcome, Job
from site_node.study import Ending, Included
from tests.factories.dicom import make_ct, make_dx, write_file
from tests.unit.site_node.standalone.conftest import Alone

UNDEFINED = 0xFFFFFFFF


def film(folder: Path, name: str = "bad.dcm") -> Path:
    return write_file(make_dx(study="bad", PatientID="BAD"), folder / name)


def truncated(folder: Path) -> None:
    file = film(folder)
    os.truncate(file, file.stat().st_size - 100)


def truncated_in_header(folder: Path) -> None:
    os.truncate(film(folder), 700)


def corrupt(folder: Path) -> None:
    file = film(folder)
    content = bytearray(file.read_bytes())
    content[400:460] = b"\xff" * 60
    file.write_bytes(content)


def empty(folder: Path) -> None:
    (folder / "bad.dcm").touch()


def letter(folder: Path) -> None:
    (folder / "bad.dcm").write_text("dear colleague")


def loop(folder: Path) -> None:
    (folder / "bad.dcm").symlink_to(folder)


def link_outside(folder: Path) -> None:
    (folder / "bad.dcm").symlink_to("/etc/hostname")


def no_file(folder: Path) -> None:
    os.mkfifo(folder / "bad.dcm")


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    size = len(value) if length is None else length
    return head + (struct.pack("<2xI", size) if vr in {b"SQ", b"OW", b"UN"} else struct.pack("<H", size)) + value


def before_pixels(file: Path, elements: bytes) -> None:
    """Insert elements just before the pixel data, where their tags are in order."""
    content = file.read_bytes()
    place = content.rindex(b"\xe0\x7f\x10\x00OW")
    file.write_bytes(content[:place] + elements + content[place:])


def nested(folder: Path) -> None:
    """100,000 nested sequences."""
    depth = 100_000
    start = element(0x00880200, b"SQ", b"", UNDEFINED) + struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)
    end = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    before_pixels(film(folder), start * depth + end * depth)


def many_items(folder: Path) -> None:
    """100,000 items side by side in a sequence whose length says there are options."""
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 100_000
    before_pixels(film(folder), element(0x00880200, b"SQ", items, len(items) + 4))


def length_past_end(folder: Path) -> None:
    before_pixels(film(folder), element(0x00880140, b"UN", b"1.2", 0x7FFFFFF0))


@pytest.mark.parametrize(
    ("spoil", "codes"),
    [
        (truncated, {"truncated"}),
        (truncated_in_header, {"truncated", "corrupt", "no-series-uid", "no-study-uid"}),
        (corrupt, {"corrupt", "truncated", "not-readable", "malformed-element", "no-study-uid"}),
        (empty, {"empty-file"}),
        (letter, {"not-dicom"}),
        (loop, {"link-loop"}),
        (link_outside, {"link-outside"}),
        (no_file, {"not-a-file"}),
        (nested, {"too-deep", "corrupt", "not-readable"}),
        (many_items, {"malformed-element", "corrupt", "truncated", "malformed-sequence", "length-past-end"}),
        (length_past_end, {"truncated", "length-past-end", "corrupt"}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_bad_file_gets_a_reason_and_the_rest_goes_on(
    alone: Alone, job: Job, source: Path, spoil: Callable[[Path], None], codes: set[str]
) -> None:
    spoil(source)
    outcomes = alone()
    assert outcomes["good.dcm"].outcome == "deidentified"
    check_refused(outcomes["bad.dcm"], codes)
    assert [path.relative_to(job.out).as_posix() for path in job.out.rglob("*.dcm")] == [outcomes["good.dcm"].output]
    assert not (job.out / ".unfinished").exists()


def check_refused(file: FileOutcome, codes: set[str]) -> None:
    assert (file.outcome, file.output) == (Ending.REFUSED, None)
    assert len(file.reasons) == 1
    assert file.reasons[0].code in codes
    assert len(file.reasons[0].message) > 10


def test_what_cannot_be_opened_is_refused(
    alone: Alone, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with a file's name is a folder; a file without read permission is one refused file."""
    (source / "folder.dcm").mkdir()
    bad, system_open = film(source), os.open

    def deny(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path) == str(bad):
            raise PermissionError(13, "denied", path)
        return system_open(path, *arguments, **options)

    monkeypatch.setattr(os, "open", deny)
    outcomes = alone()
    assert outcomes.keys() == {"good.dcm", "bad.dcm"}
    check_refused(outcomes["bad.dcm"], {"unreadable"})
    assert outcomes["good.dcm"].output


class Meddling(Inline):
    """An engine that changes something between scanning and processing."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        self._meddle = meddle

    def run(self, work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        for task in tasks:
            self._meddle()
            yield task, work(task)


@pytest.mark.parametrize("how", ["grown", "replaced", "gone"])
def test_a_file_that_changes_between_scan_and_reading_is_refused(job: Job, source: Path, how: str) -> None:
    bad = film(source)

    def meddle() -> None:
        if how == "gone":
            bad.unlink(missing_ok=True)
        elif how == "grown":
            bad.write_bytes(bad.read_bytes() + b"\0\0")
        else:
            write_file(make_dx(study="other", PatientID="OTHER"), bad)

    job.out.mkdir()
    report = archive.deidentify_archive(source, job, Meddling(meddle))
    outcomes = dict(zip(report.names, report.outcomes, strict=True))
    check_refused(outcomes["bad.dcm"], {"unreadable"} if how == "gone" else {"changed-while-reading"})
    assert outcomes["good.dcm"].output
    assert not (job.out / ".unfinished").exists()


@pytest.mark.parametrize("validated", [True, False])
def test_a_file_that_changes_while_it_is_rewritten_is_refused(
    alone: Alone, source: Path, monkeypatch: pytest.MonkeyPatch, validated: bool
) -> None:
    """With validation or without; the other files of its study are de-identified."""
    for number, dataset in enumerate(make_ct(slices=3, study="ct", PatientID="CT")):
        write_file(dataset, source / f"ct{number}.dcm")

    changing = source / "ct1.dcm"

    def change(new: NewFile, file: int, target: str) -> int:
        if os.path.samestat(os.fstat(file), changing.stat()):
            changing.write_bytes(changing.read_bytes()[:-1] + b"\x07")
        return write_new(new, file, target)

    monkeypatch.setattr(batch, "write_new", change)
    outcomes = alone(validated=validated)
    check_refused(outcomes["ct1.dcm"], {"changed-while-reading"})
    assert all(outcomes[name].output for name in ("ct0.dcm", "ct2.dcm", "good.dcm"))


def test_a_full_disk_refuses_the_study_that_does_not_fit_and_a_later_run_takes_it(
    alone: Alone, job: Job, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(source)

    def full(study: Included, **options: Any) -> Any:
        if study.kept[0].path.name == "bad.dcm":
            raise DiskFull(folder="out")
        return deidentify(study, **options)

    monkeypatch.setattr(temporary_node, "deidentify", full)
    outcomes = alone()
    check_refused(outcomes["bad.dcm"], {"disk-full"})
    assert outcomes["good.dcm"].output
    monkeypatch.setattr(temporary_node, "deidentify", deidentify)
    assert alone()["bad.dcm"].output
    assert not (job.out / ".unfinished").exists()


def test_a_defect_ends_its_study_only(alone: Alone, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film(source)

    def broken(study: Included, **options: Any) -> Any:
        if study.kept[0].path.name == "bad.dcm":
            raise ZeroDivisionError("KELSTRUPOVA")
        return deidentify(study, **options)

    monkeypatch.setattr(temporary_node, "deidentify", broken)
    outcomes = alone()
    assert (outcomes["bad.dcm"].outcome, [reason.code for reason in outcomes["bad.dcm"].reasons]) == (
        Ending.QUARANTINED,
        ["internal-error"],
    )
    assert outcomes["good.dcm"].output


def test_the_key_is_thirty_two_bytes_of_the_owner_alone(alone: Alone, job: Job) -> None:
    """Checked before anything is read or written."""
    job.key_file.chmod(0o640)
    with pytest.raises(KeyFileOpen):
        alone()
    for wrong in (b"", bytes(31), bytes(33), bytes(32).hex().encode()):
        job.key_file.chmod(0o600)
        job.key_file.write_bytes(wrong)
        with pytest.raises(KeyFileInvalid):
            alone()
    job.key_file.unlink()
    with pytest.raises(KeyFileMissing):
        alone()
    assert list(job.out.iterdir()) == []


def test_a_source_without_dicom_is_an_error(alone: Alone, source: Path) -> None:
    (source / "good.dcm").write_text("letter")
    with pytest.raises(NoDicomFound):
        alone()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(source / "s"))
        with pytest.raises(NoDicomFound):
            alone()
