"""The fast way to a header gives what pydicom gives, value by value, or leaves the file to it."""

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    RLELossless,
)

from shared.errors.studies import DicomUnreadable
from shared.ids import Sha256
from site_node.dicom import pydicom_dataset, reading
from site_node.dicom.fast_dataset import FastFile, read_fast
from site_node.dicom.fragments import is_whole
from site_node.dicom.header import header_of
from site_node.dicom.keywords import ATTRIBUTES
from site_node.screen.facts import _facts
from site_node.study import Instance
from tests.factories.dicom import make_ct, make_dx, plant_identifiers, write_file

REAL = Path(__file__).resolve().parents[4].parent / "shared" / "data" / "dicom"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what is broken on purpose
INSTANCE = Instance(
    path=Path("file"),
    size=0,
    sha256=Sha256("0" * 64),
    sop_instance_uid="",
    sop_class_uid="",
    series_instance_uid="",
    transfer_syntax_uid="",
)
MARKS = (
    b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0", b"\xff\xff\xff\xff",
    b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff", b"\x10\0\x20\0LO\x04\0A\\B ", b"\x08\0\x05\0CS\x0a\0ISO_IR 192",
    b"UN", b"SQ", b"OB", b"AA", b"\\", b"\x1b$B", b"\xe4", b" \0", b"\0\0\0\0", b"nan ", b"1_0 ",
)  # fmt: skip


def answer(read: Callable[[], object]) -> str:
    """What a reader says, as a text: values, or the code of its refusal."""
    try:
        value = read()
    except DicomUnreadable as error:
        return error.fields.get("reason", "unreadable")
    return repr(tuple(value)) if isinstance(value, tuple) else f"{value!r} {getattr(value, 'slices', '')}"


def fast(content: bytes, *, header: bool) -> str:
    """The fast way's header, or its facts for the criteria; `None` where it leaves the file to pydicom."""
    stream = BytesIO(content)

    def make(file: FastFile) -> object:
        if not header:
            return everything(_facts(INSTANCE, file.dataset))
        whole = file.pixels is None or is_whole(stream, len(content), *file.pixels)
        return header_of(file.dataset, file.syntax) if whole else None

    return answer(lambda: read_fast(stream, len(content), make))


def slow(content: bytes, *, header: bool) -> str:
    """The same by pydicom."""
    stream = BytesIO(content)
    if header:
        return answer(lambda: pydicom_dataset.read_header(stream, len(content)))
    return answer(lambda: pydicom_dataset.read_as(lambda data: everything(_facts(INSTANCE, data)), stream, force=False))


def everything(facts: object) -> tuple[str, ...]:
    """Every field of the facts, those of a patient too."""
    return tuple(
        str(sorted(value) if isinstance(value, frozenset) else value)
        for name in facts.__slots__  # type: ignore[attr-defined]
        for value in [getattr(facts, name)]
    )


def agree(content: bytes) -> bool:
    """Whether the fast way read the file; fails where the two differ."""
    results = [(fast(content, header=header), slow(content, header=header)) for header in (True, False)]
    for ours, theirs in results:
        assert ours in {theirs, "None "}
    return all(ours != "None " for ours, _ in results)


def enhanced() -> Dataset:
    """An object of two frames whose places stand in functional groups, in sequences of undefined length."""
    dataset = make_ct(slices=1, ImagePositionPatient=None)[0]
    groups = []
    for number in range(2):
        position, macro = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, number * 2.5]
        macro.PlanePositionSequence = Items([position])
        groups.append(macro)
    code, region = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "51185008", "SCT", "Thorax"
    region.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared = Dataset()
    shared.PlaneOrientationSequence = Items([region])
    dataset.AnatomicRegionSequence = Items([code])
    dataset.SharedFunctionalGroupsSequence = Items([shared])
    dataset.PerFrameFunctionalGroupsSequence = Items(groups)
    for keyword in ("AnatomicRegionSequence", "PerFrameFunctionalGroupsSequence"):
        dataset[keyword].is_undefined_length = True
    return dataset


def umlauts(character_set: str | list[str] | None) -> Dataset:
    """A film whose texts are not ASCII, if a character set is named."""
    text = "Schädel-Thorax" if character_set else "Thorax"
    return make_dx(SpecificCharacterSet=character_set, StudyDescription=text, PatientID="Ä 1" if character_set else "A")


def contents(folder: Path) -> Iterator[bytes]:
    """Well-formed files that the fast way must read itself."""
    planted = make_dx()
    plant_identifiers(planted)
    datasets = (
        make_ct(slices=1)[0], planted, enhanced(), umlauts("ISO_IR 100"), umlauts("ISO_IR 192"), umlauts(None),
        make_dx(SpecificCharacterSet=["", "ISO 2022 IR 87"]),
        make_ct(slices=1, ImageType=["ORIGINAL", "", "AXIAL "])[0],
        make_dx(PatientID=None, PatientAge="017Y", StudyDate="2020.03.01", PatientBirthDate=""),
        make_dx(StudyInstanceUID=None), make_dx(SeriesInstanceUID=""),
    )  # fmt: skip
    for number, dataset in enumerate(datasets):
        for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless):
            yield write_file(dataset.copy(), folder / f"{number}-{syntax}.dcm", UID(syntax)).read_bytes()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return list(contents(tmp_path_factory.mktemp("files")))


def test_keywords_are_those_of_the_dictionary() -> None:
    """Tag and value representation of every attribute are pydicom's."""
    for keyword, (tag, vr) in ATTRIBUTES.items():
        assert (tag_for_keyword(keyword), dictionary_VR(tag)) == (tag, vr)


def test_ascii_is_ascii_in_every_character_set() -> None:
    """A text of ASCII characters without escapes needs no look at SpecificCharacterSet."""
    ascii_bytes = bytes(number for number in range(128) if number != 0x1B)
    assert all(ascii_bytes.decode(codec) == ascii_bytes.decode("ascii") for codec in python_encoding.values())


def test_well_formed_files_are_read_fast(files: list[bytes]) -> None:
    """Of ordinary files, in either representation or compressed, none is left to pydicom, and both agree."""
    assert sum(map(agree, files)) == len(files)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the developers' shared data are not here")
def test_both_agree_on_every_real_file() -> None:
    """They agree on every real file, and three of four are read fast."""
    paths = [path for path in sorted(REAL.rglob("*")) if path.is_file() and path.suffix != ".csv"]
    read_fast_paths = [path for path in paths if agree(path.read_bytes())]
    assert len(read_fast_paths) > len(paths) * 3 / 4 > 100


@settings(max_examples=400)
@given(data=st.data())
def test_both_agree_on_mutated_files(files: list[bytes], data: st.DataObject) -> None:
    """They agree on any mutation of a file."""
    content = bytearray(data.draw(st.sampled_from(files)))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, min(len(content), 3000)))
        new = data.draw(st.sampled_from(MARKS) | st.binary(max_size=4))
        removed = data.draw(st.sampled_from((0, len(new), 1, 2, 8, len(content))))
        content[place : place + removed] = new
    agree(bytes(content))


def altered(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return content.replace(old, new, 1)


LEFT_TO_PYDICOM: dict[str, Callable[[bytes], bytes]] = {
    "number with NUL": lambda content: altered(content, rb"\0.0" b"\\", rb"\0" b"\0\0\\"),
    "no preamble": lambda content: content[132:],
    "cut off": lambda content: content[:-1],
    "another representation": lambda content: altered(content, b"\x10\0\x20\0LO", b"\x10\0\x20\0UT"),
    "unknown representation": lambda content: altered(content, b"\x10\0\x20\0LO", b"\x10\0\x20\0ZZ"),
    "twice": lambda content: altered(content, b"\x10\0\x20\0LO", b"\x10\0\x20\0LO\2\0A \x10\0\x20\0LO"),
    "codec's name": lambda content: altered(content, b"\x10\0\x20\0LO", b"\x08\0\x05\0CS\6\0utf_16\x10\0\x20\0LO"),
    "UN without length": lambda content: altered(
        content, b"\x10\0\x20\0LO", b"\x09\0\x10\0UN\0\0\xff\xff\xff\xff\xfe\xff\xdd\xe0\0\0\0\0\x10\0\x20\0LO"
    ),
    "delimiter": lambda content: altered(content, b"\x10\0\x20\0LO", b"\xfe\xff\x0d\xe0\0\0\0\0\x10\0\x20\0LO"),
    "delimiter with a length": lambda content: altered(
        content,
        b"\x10\0\x20\0LO",
        b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff\xfe\xff\x0d\xe0UT\0\0"
        b"\xfe\xff\xdd\xe0\0\0\0\0\x10\0\x20\0LO",
    ),
    "directory": lambda content: altered(
        content,
        b"\x02\0\x02\0UI\x1a\0" + content[166:192],
        b"\x02\0\x02\0UI\x14\0" + MediaStorageDirectoryStorage.encode(),
    ),
}


@pytest.mark.parametrize("name", LEFT_TO_PYDICOM)
def test_doubtful_files_are_left_to_pydicom(files: list[bytes], name: str) -> None:
    """What pydicom may see otherwise the fast way does not answer for."""
    assert not agree(LEFT_TO_PYDICOM[name](files[0]))


def test_other_encodings_are_read_by_pydicom(tmp_path: Path) -> None:
    """A big-endian file is read all the same."""
    path = write_file(make_dx(), tmp_path / "film.dcm", ExplicitVRBigEndian)
    with path.open("rb") as stream:
        header = reading.read_header(stream, path.stat().st_size)
    assert header.sop_instance_uid == make_dx().SOPInstanceUID


def test_a_long_header_is_read_in_steps(tmp_path: Path) -> None:
    """A header longer than what is read at first is read fast, too."""
    dataset = make_dx()
    dataset.private_block(0x0019, "VENDOR", create=True).add_new(1, "OB", bytes(300_000))
    assert agree(write_file(dataset, tmp_path / "film.dcm").read_bytes())
