"""The law of bad input: any mutation of a real file ends in a stated outcome, and validation refuses no output."""

import hashlib
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import pytest

from shared.errors.studies import DicomUnreadable
from shared.ids import Sha256, StudyKey
from site_node.deidentify.study import deidentify
from site_node.dicom.header import Header
from site_node.dicom.reading import read_header
from site_node.reasons import catalogue
from site_node.study import Included, Instance, Received, Refused
from site_node.validate.validation import validate
from tests.factories.deidentified import PROFILE, PSEUDONYMS

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "dicom"
LARGEST = 150_000  # bytes: what matters is the header, and a picture's size only takes time
HEADER = 6000  # bytes in which most mutations fall
VALIDATED = "validated"
LONGEST = 5.0  # seconds that one file may take
LENGTHS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\0\0", b"\1\0\0\0", b"\xfe\xff\xff\x7f")
MARKS = (
    b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0",
    b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff", b"\x10\0\x10\0PN\x04\0A^B ", b"\x09\0\x10\0LO\x02\0X ",
    b"\x08\0\x05\0CS\x0a\0ISO_IR 192", b"\xe0\x7f\x10\0OW\0\0\x02\0\0\0\0\0",
)  # fmt: skip


def flip(data: bytearray, place: int, chance: random.Random) -> None:
    """One byte becomes another."""
    data[place] ^= chance.randrange(1, 256)


def cut(data: bytearray, place: int, chance: random.Random) -> None:
    """Some bytes are removed."""
    del data[place : place + chance.choice((1, 2, 4, 8, 32, len(data)))]


def insert(data: bytearray, place: int, chance: random.Random) -> None:
    """Bytes with a meaning in DICOM are inserted."""
    data[place:place] = chance.choice(MARKS)


def lengthen(data: bytearray, place: int, chance: random.Random) -> None:
    """Bytes that may be a length become an awkward one."""
    length = chance.choice(LENGTHS)
    data[place : place + len(length)] = length


def double(data: bytearray, place: int, chance: random.Random) -> None:
    """A stretch is repeated, here or somewhere else."""
    stretch = data[place : place + chance.choice((8, 16, 64, 500))]
    other = chance.choice((place, chance.randrange(min(len(data), HEADER))))
    data[other:other] = stretch


def swap(data: bytearray, place: int, chance: random.Random) -> None:
    """A value's bytes become others of the same length, as in another vendor's file."""
    word = chance.choice((b"UN", b"SQ", b"OB", b"LO", b"UI", b"DA", b"UT", b"\\\\", b"^^", b"  ", b"\0\0", b"\x1b$"))
    data[place : place + len(word)] = word


WAYS: tuple[Callable[[bytearray, int, random.Random], None], ...] = (flip, flip, cut, insert, lengthen, double, swap)


def mutated(content: bytes, chance: random.Random) -> bytes:
    """A file with one to four mutations."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        if not data:
            break
        place = chance.randrange(min(len(data), HEADER) if chance.random() < 0.9 else len(data))
        chance.choice(WAYS)(data, place, chance)
    return bytes(data)


def included(path: Path, header: Header) -> Included:
    """The file as `receive` would hand it on with this header."""
    content = path.read_bytes()
    instance = Instance(
        path=path,
        size=len(content),
        sha256=Sha256(hashlib.sha256(content).hexdigest()),
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        series_instance_uid=header.series_instance_uid,
        transfer_syntax_uid=header.transfer_syntax_uid,
    )
    study = Received(
        key=StudyKey("0" * 32),
        study_instance_uid=header.study_instance_uid,
        identity=header.identity,
        instances=(instance,),
    )
    return Included(study=study, kept=(instance,), left_out=(), warnings=())


def header_of(content: bytes) -> Header | None:
    """The header that `receive` reads; None where it refuses the file."""
    try:
        return read_header(BytesIO(content), len(content))
    except DicomUnreadable:
        return None


def outcome(content: bytes, folder: Path, header: Header | None) -> str:
    """How one file ends: not received, a reason of de-identification, or the verdict of validation on the output.

    Args:
        content: the file.
        folder: made for the file and removed.
        header: the header before the mutation, for files that would not be received any more.
    """
    header = header_of(content) or header
    if header is None:
        return "not received"
    folder.mkdir()
    path = folder / "source"
    path.write_bytes(content)
    study = included(path, header)
    output = deidentify(study, profile=PROFILE, pseudonyms=PSEUDONYMS, out=folder / "out")
    if isinstance(output, Refused):
        assert not (folder / "out").exists()
        remove(folder)
        return output.reasons[0].code
    result = validate(study, output, profile=PROFILE, pseudonyms=PSEUDONYMS, report=folder / "report.json")
    remove(folder)
    return f"REFUSED BY VALIDATION: {result.reasons}" if isinstance(result, Refused) else VALIDATED


def mutate_all(files: Sequence[Path], count: int, folder: Path, *, seed: int) -> Counter[str]:
    """The outcomes of `count` mutations: most of files that end well as they are, the others of all files."""
    contents = [path.read_bytes() for path in files]
    headers = [header_of(content) for content in contents]
    every = range(len(files))
    good = [index for index in every if outcome(contents[index], folder / "whole", headers[index]) == VALIDATED]
    outcomes: Counter[str] = Counter()
    bad: list[str] = []
    for number in range(count):
        chance = random.Random(seed * 1_000_003 + number)
        index = chance.choice(good if number % 4 else every)
        start = time.monotonic()
        end = outcome(mutated(contents[index], chance), folder / "changed", headers[index])
        assert time.monotonic() - start < LONGEST, (files[index].name, seed, number)
        outcomes[end] += 1
        if end not in {VALIDATED, "not received"} and (end not in catalogue() or end.startswith("validate-")):
            bad.append(f"{files[index].name} {seed}/{number}: {end}")
    assert not bad, "\n".join(bad)
    return outcomes


def remove(folder: Path) -> None:
    """Remove the folder for the next file."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def real_files() -> list[Path]:
    """The real files that are small enough."""
    return sorted(
        path for path in REAL.rglob("*") if path.is_file() and path.suffix != ".csv" and path.stat().st_size < LARGEST
    )


@pytest.mark.skipif(not REAL.is_dir(), reason="the developers' shared data are not here")
@pytest.mark.filterwarnings("ignore")
def test_no_mutation_crashes_hangs_or_makes_an_output_that_validation_refuses(tmp_path: Path) -> None:
    """Each of 500 mutations of every fourth real file ends in a stated outcome, and every output is valid."""
    outcomes = mutate_all(real_files()[::4], 500, tmp_path, seed=1)
    assert outcomes.total() == 500
    assert outcomes[VALIDATED] > 100


@pytest.mark.soak
@pytest.mark.skipif(not REAL.is_dir(), reason="the developers' shared data are not here")
@pytest.mark.filterwarnings("ignore")
def test_100_000_mutations(tmp_path: Path) -> None:
    """The same law, soaked."""
    assert mutate_all(real_files(), 100_000, tmp_path, seed=2).total() == 100_000
