"""Laws of blanking: only the pixels in the boxes change, 113101 is claimed only then, validation knows the boxes."""

import hashlib
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from shared.ids import Sha256, SiteId
from shared.protocol.loader import load_profile
from site_node.blanking import BlankBox, Blanking
from site_node.deidentify.study import deidentify
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Deidentified, Ending, Included, Refused, Validated
from site_node.validate.validation import validate
from tests.factories.dicom import make_ct, make_dx
from tests.factories.studies import make_included, make_instance, make_received

PROFILE = load_profile()
PSEUDONYMS = Pseudonyms(b"k" * 32, SiteId("123456"))
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, JPEG2000Lossless]


def box(dataset: Dataset, *sides: int, frame: int = 0) -> BlankBox:
    left, top, right, bottom = sides
    name = PSEUDONYMS.uid(str(dataset.SOPInstanceUID))
    return BlankBox(instance=name, frame=frame, left=left, top=top, right=right, bottom=bottom)


def stored(film: Dataset) -> NDArray[np.uint16]:
    return np.frombuffer(film.PixelData, dtype="<u2").reshape(64, 64)


def blanked(
    folder: Path, datasets: list[Dataset], blank: Blanking | None, syntax: UID = ExplicitVRLittleEndian
) -> tuple[Included, Deidentified | Refused]:
    source = make_included(make_received(folder / "in", datasets, syntax))
    return source, deidentify(source, profile=PROFILE, pseudonyms=PSEUDONYMS, out=folder / "out", blank=blank)


def validated(
    folder: Path, source: Included, output: Deidentified | Refused, blank: Blanking | None
) -> Validated | Refused:
    assert isinstance(output, Deidentified), output.reasons
    report = folder / "report.json"
    return validate(source, output, profile=PROFILE, pseudonyms=PSEUDONYMS, report=report, blank=blank)


def codes_of(dataset: Dataset) -> set[str]:
    return {item.CodeValue for item in dataset.DeidentificationMethodCodeSequence}


def reasons_of(result: Validated | Refused) -> set[str]:
    return {reason.code for reason in result.reasons} if isinstance(result, Refused) else set()


def read(output: Deidentified | Refused, number: int = 0) -> pydicom.FileDataset:
    assert isinstance(output, Deidentified), output.reasons
    return pydicom.dcmread(output.instances[number].path)


def saved(output: Deidentified | Refused, changed: pydicom.FileDataset) -> Deidentified:
    """The study as if its stage had written `changed` into its only file."""
    assert isinstance(output, Deidentified), output.reasons
    path = output.instances[0].path
    changed.save_as(path)
    content = path.read_bytes()
    update = {"size": len(content), "sha256": Sha256(hashlib.sha256(content).hexdigest())}
    return output.model_copy(update={"instances": (output.instances[0].model_copy(update=update),)})


def check_pixels(after: NDArray[np.generic], before: NDArray[np.generic], boxes: list[BlankBox], black: int) -> None:
    inside = np.zeros(before.shape, dtype=bool)
    for box in boxes:
        inside[box.top : box.bottom, box.left : box.right] = True
    assert (after[~inside] == before[~inside]).all()
    assert (after[inside] == black).all()


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_only_the_pixels_in_the_boxes_change(tmp_path: Path, syntax: UID, photometric: str) -> None:
    """The boxes become black as displayed in every transfer syntax, the output is uncompressed, validation agrees."""
    film = make_dx(PhotometricInterpretation=photometric)
    boxes = [box(film, 3, 5, 20, 11), box(film, 40, 60, 99, 99)]  # the second reaches over the edge
    blank = Blanking(boxes=tuple(boxes))
    source, output = blanked(tmp_path, [film], blank, syntax)
    after, before = read(output), stored(film)
    check_pixels(after.pixel_array, before, boxes, int(before.max() if photometric == "MONOCHROME1" else before.min()))
    assert after.file_meta.TransferSyntaxUID == (syntax if syntax.is_implicit_VR else ExplicitVRLittleEndian)
    assert (after.BurnedInAnnotation, after.PhotometricInterpretation) == ("NO", photometric)
    assert "113101" in codes_of(after)
    assert isinstance(validated(tmp_path, source, output, blank), Validated)
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["blanked_boxes"], report["blanked_frames"]) == (2, 1)
    assert "PixelData" in report["changed"]
    assert "PixelData" not in report["kept"]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_signed_values_and_the_other_files_of_the_study(tmp_path: Path, syntax: UID) -> None:
    """A CT slice is blanked with its own lowest value; slices without a box do not change and claim nothing."""
    slices = make_ct(slices=3, PixelRepresentation=1, BitsStored=16, HighBit=15)
    ramp = np.arange(32 * 32, dtype=np.int16).reshape(32, 32) - 1024
    slices[1].PixelData = ramp.tobytes()
    blank = Blanking(boxes=(box(slices[1], 0, 10, 32, 14),))
    source, output = blanked(tmp_path, slices, blank, syntax)
    _, plain = blanked(tmp_path / "plain", slices, None, syntax)
    check_pixels(read(output, 1).pixel_array, ramp, list(blank.boxes), -1024)
    assert isinstance(output, Deidentified)
    assert isinstance(plain, Deidentified)
    pairs = zip(output.instances, plain.instances, strict=True)
    same = [first.path.read_bytes() == other.path.read_bytes() for first, other in pairs]
    assert same == [True, False, True]
    assert ["113101" in codes_of(read(output, number)) for number in range(3)] == [False, True, False]
    assert isinstance(validated(tmp_path, source, output, blank), Validated)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_colour_is_black_in_each_of_its_parts(tmp_path: Path, planar: int, syntax: UID) -> None:
    """Colours are blanked whether stored pixel by pixel or plane by plane (PS3.3 C.7.6.3.1.3)."""
    image = np.random.default_rng(1).integers(1, 255, (64, 64, 3), dtype=np.uint8)
    film = make_dx(
        PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=planar,
        BitsAllocated=8, BitsStored=8, HighBit=7,
    )  # fmt: skip
    film.PixelData = (image if planar == 0 else np.moveaxis(image, -1, 0)).tobytes()
    film["PixelData"].VR = "OB"
    blank = Blanking(boxes=(box(film, 1, 2, 30, 9),))
    source, output = blanked(tmp_path, [film], blank, syntax)
    check_pixels(read(output).pixel_array, pydicom.dcmread(source.kept[0].path).pixel_array, list(blank.boxes), 0)
    assert isinstance(validated(tmp_path, source, output, blank), Validated)


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_a_lossy_image_stays_said_to_be_lossy(tmp_path: Path, *, colour: bool) -> None:
    """Baseline JPEG becomes uncompressed, RGB where it has colours, and 01 although only its syntax said lossy."""
    image = np.random.default_rng(4).integers(0, 255, (64, 64, 3) if colour else (64, 64), dtype=np.uint8)
    coded = BytesIO()
    Image.fromarray(image).save(coded, format="JPEG", quality=90)
    film = make_dx(
        PhotometricInterpretation="YBR_FULL_422" if colour else "MONOCHROME2", SamplesPerPixel=3 if colour else 1,
        PlanarConfiguration=0 if colour else None, BitsAllocated=8, BitsStored=8, HighBit=7,
        LossyImageCompression=None,
    )  # fmt: skip
    source = make_included(make_received(tmp_path / "in", [film]))
    path = source.kept[0].path
    film.PixelData = encapsulate([coded.getvalue()])
    film["PixelData"].VR = "OB"
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    film.save_as(path, enforce_file_format=True)
    study = source.study.model_copy(update={"instances": (make_instance(path),)})
    source = make_included(study)
    blank = Blanking(boxes=(box(film, 8, 8, 24, 16),))
    output = deidentify(source, profile=PROFILE, pseudonyms=PSEUDONYMS, out=tmp_path / "out", blank=blank)
    after, before = read(output), pixel_array(path)
    check_pixels(after.pixel_array, before, list(blank.boxes), 0 if colour else int(before.min()))
    assert after.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert (after.LossyImageCompression, after.PhotometricInterpretation) == ("01", "RGB" if colour else "MONOCHROME2")
    assert isinstance(validated(tmp_path, source, output, blank), Validated)


def test_of_many_frames_only_the_named_one_changes(tmp_path: Path) -> None:
    frames = np.random.default_rng(2).integers(5, 4000, (3, 64, 64), dtype=np.uint16)
    film = make_dx(NumberOfFrames=3)
    film.PixelData = frames.tobytes()
    blank = Blanking(boxes=(box(film, 4, 4, 9, 9, frame=1),))
    source, output = blanked(tmp_path, [film], blank)
    after = read(output).pixel_array
    assert (after[[0, 2]] == frames[[0, 2]]).all()
    check_pixels(after[1], frames[1], list(blank.boxes), int(frames[1].min()))
    assert isinstance(validated(tmp_path, source, output, blank), Validated)


SIDES = st.tuples(*(st.integers(0, 70) for _ in range(4))).filter(
    lambda sides: sides[0] < sides[2] and sides[1] < sides[3]
)


@given(st.lists(SIDES, min_size=1, max_size=3), st.sampled_from(["MONOCHROME1", "MONOCHROME2"]))
def test_any_boxes(tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[int, int, int, int]], kind: str) -> None:
    """Boxes may overlap, touch an edge or reach over it; a box outside blanks nothing and stops the film."""
    folder, film = tmp_path_factory.mktemp("any"), make_dx(PhotometricInterpretation=kind)
    boxes = [box(film, *sides) for sides in drawn]
    blank = Blanking(boxes=tuple(boxes))
    source, output = blanked(folder, [film], blank)
    if any(entry.left >= 64 or entry.top >= 64 for entry in boxes):
        assert isinstance(output, Refused)
        assert (output.ending, output.reasons[0].code) == (Ending.QUARANTINED, "cannot-blank")
        return
    before = stored(film)
    check_pixels(read(output).pixel_array, before, boxes, int(before.max() if kind == "MONOCHROME1" else before.min()))
    assert isinstance(validated(folder, source, output, blank), Validated)


def test_pixels_without_a_darkest_colour_and_frames_that_are_not_there_wait(tmp_path: Path) -> None:
    for number, (film, frame) in enumerate([(make_dx(PhotometricInterpretation="PALETTE COLOR"), 0), (make_dx(), 1)]):
        blank = Blanking(boxes=(box(film, 1, 1, 5, 5, frame=frame),))
        _, output = blanked(tmp_path / str(number), [film], blank)
        assert isinstance(output, Refused)
        assert (output.ending, output.reasons[0].code) == (Ending.QUARANTINED, "cannot-blank")
        assert not (tmp_path / str(number) / "out").exists()


def test_validation_goes_by_the_persons_record(tmp_path: Path) -> None:
    """A box that is blanked unrequested, requested and not blanked, or of another size stops the study."""
    film = make_dx()
    requested = Blanking(boxes=(box(film, 3, 5, 20, 11),))
    wider = Blanking(boxes=(box(film, 3, 5, 21, 11),))
    source, output = blanked(tmp_path, [film], requested)
    _, plain = blanked(tmp_path / "plain", [film], None)
    assert {"validate-pixels", "validate-blanking"} <= reasons_of(validated(tmp_path, source, output, None))
    assert "validate-blanking" in reasons_of(validated(tmp_path, source, plain, requested))
    assert "validate-blanking" in reasons_of(validated(tmp_path, source, output, wider))
    _, wide_output = blanked(tmp_path / "wide", [film], wider)
    assert "validate-pixels" in reasons_of(validated(tmp_path, source, wide_output, requested))


@pytest.mark.parametrize("tag", ["BurnedInAnnotation", "DeidentificationMethodCodeSequence", "inside", "outside"])
def test_each_damage_to_a_blanked_file_is_found(tmp_path: Path, tag: str) -> None:
    """Validation finds a changed claim, a changed pixel inside the box and a changed pixel outside it."""
    film = make_dx()
    blank = Blanking(boxes=(box(film, 3, 5, 20, 11),))
    source, output = blanked(tmp_path, [film], blank)
    dataset = read(output)
    if tag in {"inside", "outside"}:
        pixels = dataset.pixel_array.copy()
        pixels[(6, 4) if tag == "inside" else (30, 30)] += 1
        dataset.PixelData = pixels.tobytes()
    elif tag == "BurnedInAnnotation":
        dataset.BurnedInAnnotation = "YES"
    else:
        codes = [item for item in dataset.DeidentificationMethodCodeSequence if item.CodeValue != "113101"]
        dataset.DeidentificationMethodCodeSequence = codes
    result = validated(tmp_path, source, saved(output, dataset), blank)
    assert ("validate-pixels" if tag == "outside" else "validate-blanking") in reasons_of(result)


def test_a_claim_of_the_source_stays_true_and_a_false_one_is_found(tmp_path: Path) -> None:
    """A claim that the source made is kept; a claim that nobody earned is found."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "113101", "DCM", "Clean Pixel Data Option"
    source, output = blanked(tmp_path, [make_dx(DeidentificationMethodCodeSequence=[item])], None)
    assert "113101" in codes_of(read(output))
    assert isinstance(validated(tmp_path, source, output, None), Validated)
    source, output = blanked(tmp_path / "plain", [make_dx()], None)
    dataset = read(output)
    codes = [*dataset.DeidentificationMethodCodeSequence, item]
    dataset.DeidentificationMethodCodeSequence = sorted(codes, key=lambda code: str(code.CodeValue))
    assert reasons_of(validated(tmp_path, source, saved(output, dataset), None)) == {"validate-blanking"}
