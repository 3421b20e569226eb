"""The two readers agree, and broken files are refused by a code, never by a crash."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from shared.errors.studies import DicomUnreadable, DicomUnsupported
from shared.protocol.vr import DEEPEST
from site_node.study import Identity
from site_node.validate.reader import read_document
from tests.factories.deidentified import PROFILE, file_of, rewritten_bytes, run_bytes
from tests.factories.dicom import make_ct, make_dx, plant_identifiers, write_file

REAL = Path(__file__).resolve().parents[4].parent / "shared" / "data" / "dicom"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what is broken on purpose
END = b"\xfe\xff\x0d\xe0\0\0\0\0"
PIXELS = b"\xe0\x7f\x10\x00"


def both(path: Path) -> tuple[bytes | str, bytes | str]:
    """The new file or the code by each reader. Every kind of object is let through."""
    dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    kinds = {**PROFILE.kinds, str(dataset.get("SOPClassUID", "")): "ct"}
    quarantine = PROFILE.quarantine.model_copy(update={"sop_classes": frozenset()})
    profile = PROFILE.model_copy(update={"kinds": kinds, "quarantine": quarantine})
    patient = str(dataset.get("PatientID", "")).strip(" \0") or "nobody"
    identity = Identity(issuer="", patient_id=patient)
    study_uid = str(dataset.get("StudyInstanceUID", ""))

    def result(*, slow: bool) -> bytes | str:
        try:
            return rewritten_bytes(path, profile, identity, study_uid, slow=slow)
        except DicomUnsupported as error:
            return error.fields["code"]

    return result(slow=False), result(slow=True)


def real_files() -> Iterator[Path]:
    """The developers' real files, in order."""
    yield from sorted(path for path in REAL.rglob("*") if path.is_file() and path.suffix != ".csv")


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the developers' shared data are not here")
def test_both_readers_give_the_same_of_every_real_file() -> None:
    """Wherever both readers can read a file, the new files are equal to the byte; none crashes."""
    compared = 0
    for path in real_files():
        fast, slow = both(path)
        if isinstance(fast, bytes) and isinstance(slow, bytes):
            assert fast == slow, path.name
            compared += 1
    assert compared > 60  # some say two ages, or none that anybody has, and wait for a person


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian],
    ids=lambda syntax: syntax.name,
)
@pytest.mark.parametrize("undefined", [False, True])
def test_both_readers_give_the_same_of_planted_files(
    tmp_path: Path, syntax: pydicom.uid.UID, *, undefined: bool
) -> None:
    """Private sequences, undefined lengths and overlays included."""
    for number, dataset in enumerate([make_dx(), *make_ct(slices=1)]):
        plant_identifiers(dataset)
        for element in dataset.iterall():
            if element.VR == "SQ":
                element.is_undefined_length = undefined
                for item in element.value:
                    item.is_undefined_length_sequence_item = undefined
        fast, slow = both(write_file(dataset, tmp_path / str(number), syntax))
        assert isinstance(fast, bytes)
        assert fast == slow


def test_a_file_without_preamble_is_read(tmp_path: Path) -> None:
    """Data sets without Part 10 header go the slow way."""
    dataset = make_dx()
    content = file_of(tmp_path, dataset, ImplicitVRLittleEndian)
    start = content.index(b"\x08\0\x05\0")
    outcome = run_bytes(tmp_path, dataset, content[start:])
    assert outcome.dataset.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert outcome.dataset.PixelData == dataset.PixelData


@pytest.mark.parametrize("cut", [-1, -9, 300])
def test_a_deflated_file_that_ends_early_is_refused(tmp_path: Path, cut: int) -> None:
    """The end of the compressed stream must be there."""
    dataset = make_dx()
    content = file_of(tmp_path, dataset, DeflatedExplicitVRLittleEndian)
    assert run_bytes(tmp_path, dataset, content[: len(content.rstrip(b"\0")) + cut if cut < 0 else cut]).code


def test_group_lengths_are_dropped(tmp_path: Path) -> None:
    """Retired group length elements go, they would be wrong."""
    dataset = make_dx()
    content = file_of(tmp_path, dataset)
    start = content.index(b"\x08\0\x05\0")
    outcome = run_bytes(tmp_path, dataset, content[:start] + b"\x08\0\0\0UL\x04\0\x99\0\0\0" + content[start:])
    assert 0x00080000 not in outcome.dataset


def test_zero_bytes_after_the_end_are_dropped(tmp_path: Path) -> None:
    """Padding of tapes and archives is not an element."""
    dataset = make_dx()
    outcome = run_bytes(tmp_path, dataset, file_of(tmp_path, dataset) + bytes(512))
    assert outcome.raw.endswith(dataset.PixelData)


def broken(content: bytes) -> dict[str, bytes]:
    """Ways to break a good explicit VR file."""
    pixels = content.index(PIXELS)
    rows = content.index(b"\x28\0\x10\0")
    name = content.index(b"\x10\0\x10\0PN")
    return {
        "empty": b"",
        "text": b"this is no DICOM at all, but it is long enough to be looked at " * 9,
        "no data set": content[:132],
        "cut in meta": content[:150],
        "cut in an element": content[: name + 9],
        "cut in the pixels": content[:-100],
        "no pixels": content[: pixels + 12],
        "unknown tail": content + b"Zanzibarova was here",
        "length past the end": content[: name + 6] + b"\xfe\xff" + content[name + 8 :],
        "unknown representation": content[: rows + 4] + b"ZZ" + content[rows + 6 :],
        "doubled element": content[:rows] + content[rows : rows + 10] + content[rows:],
        "command group": content[:rows] + b"\0\0\0\x01US\x02\0\1\0" + content[rows:],
        "wrong rows": content[: rows + 8] + b"\xff\x0f" + content[rows + 10 :],
        "no rows": content[: rows + 8] + b"\0\0" + content[rows + 10 :],
        "stray delimiter": content[:rows] + END + content[rows:],
        "endless sequence": content[:rows] + b"\x28\0\x09\0SQ\0\0\xff\xff\xff\xff" + content[rows:],
        "sequence without items": content[:rows] + b"\x08\0\x40\x11SQ\0\0\x08\0\0\0Zanzibar" + content[rows:],
        "item past the end": content[:rows]
        + b"\x08\0\x40\x11SQ\0\0\x08\0\0\0\xfe\xff\0\xe0\xff\0\0\0"
        + content[rows:],
        "too many pixels": content[: pixels + 8] + (9000).to_bytes(4, "little") + bytes(9000),
        "undefined pixels": content[: pixels + 8] + b"\xff\xff\xff\xff" + content[pixels + 12 :],
        "unknown transfer syntax": content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0"),
    }


@pytest.mark.parametrize("way", sorted(broken(b"\x28\0\x10\0\x10\0\x10\0PN" + PIXELS)))
def test_broken_files_are_refused(tmp_path: Path, way: str) -> None:
    """Each ends with a code, and no file is left."""
    dataset = make_dx(AnatomicRegionSequence=None)
    outcome = run_bytes(tmp_path, dataset, broken(file_of(tmp_path, dataset))[way])
    assert outcome.code is not None
    assert outcome.raw == b""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bytes", "spool"]


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    """100,000 items within items end with a code, quickly."""
    dataset = make_dx()
    content = file_of(tmp_path, dataset)
    start = content.index(b"\x08\0\x18\x22")
    deep = (b"\x08\0\x18\x22SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff") * 100_000
    assert run_bytes(tmp_path, dataset, content[:start] + deep + content[start:]).code == "too-deep"


@pytest.mark.parametrize(("levels", "goes_on"), [(DEEPEST, True), (DEEPEST + 1, False)])
def test_all_readers_have_one_bound_of_nesting(tmp_path: Path, levels: int, *, goes_on: bool) -> None:
    """What is nested as deeply as is read is also written, and read again by the validator; one level more is not."""
    inner = dataset = make_dx(AnatomicRegionSequence=None)
    for _ in range(levels):
        item = Dataset()
        item.CodeValue = "T-D3000"
        inner.AnatomicRegionSequence = Items([item])
        inner = item
    path = write_file(dataset, tmp_path / "deep")
    assert [isinstance(end, bytes) for end in both(path)] == [goes_on, goes_on]
    with nullcontext() if goes_on else pytest.raises(DicomUnreadable):
        read_document(path.read_bytes(), ())


def test_many_items_are_read(tmp_path: Path) -> None:
    """Items beside each other have no limit."""
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3"
    dataset = make_dx(ReferencedImageSequence=Items([item] * 2000))
    assert len(run_bytes(tmp_path, dataset, file_of(tmp_path, dataset)).dataset.ReferencedImageSequence) == 2000


@pytest.mark.slow
def test_mutated_files_never_crash(tmp_path: Path) -> None:
    """One byte changed anywhere in the header: a file or a code, never an exception of another kind."""
    path = tmp_path / "one"
    content = write_file(make_dx(rows=8), path).read_bytes()
    for place in range(132, len(content) - 128, 7):
        mutated = bytearray(content)
        mutated[place] ^= 0x5A
        path.write_bytes(mutated)
        outcome = run_bytes(tmp_path / str(place), make_dx(rows=8), bytes(mutated))
        assert outcome.raw or outcome.code
