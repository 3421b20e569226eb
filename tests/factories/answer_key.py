"""A collection of images with a key that says what must become of every element, after the MIDI-B benchmark.

The Medical Image De-Identification Benchmark (NCI and TCIA, 2024) judges each element by types of action. This set is
our own: its patients are invented, its texts hold identifying words among harmless ones, and a seed draws it anew. In a
text of `answer_key_texts.toml` a name in braces is an identifying word, which must go; all else must stay.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import Random
from string import Formatter
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage, UID_dictionary

from compose.sample import objects
from site_node.blanking import Sides
from tests.factories import planted
from tests.factories.dicom import changed

KINDS = ("CT", "MR", "DX", "CR")
PATIENTS = 8
COUNTS = {"CT": 6, "MR": 5, "DX": 2, "CR": 2}  # images of a study
SIZE = 64  # pixels, both ways
BURNED_IN = Sides(4, 4, 60, 20)
_TEXTS = tomllib.loads(Path(__file__).with_name("answer_key_texts.toml").read_text(encoding="utf-8"))
_FORMATTED = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_DATED = frozenset({"DA", "DT"})
_ALWAYS = frozenset({"PatientName", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "Modality"})
_BIRTH = "PatientBirthDate"
_UNJUDGED = frozenset(_TEXTS["unjudged"])  # as MIDI-B judges no stop words


class Action(StrEnum):
    """The types of action of MIDI-B."""

    TAG_RETAINED = "tag retained"
    TEXT_NOT_NULL = "text notnull"
    TEXT_RETAINED = "text retained"
    TEXT_REMOVED = "text removed"
    DATE_SHIFTED = "date shifted"
    UID_CHANGED = "uid changed"
    UID_CONSISTENT = "uid consistent"
    PATIENT_CONSISTENT = "patid consistent"
    PIXELS_HIDDEN = "pixels hidden"
    PIXELS_RETAINED = "pixels retained"


class Expectation(NamedTuple):
    """What must become of one element, or of one word in it."""

    action: Action
    path: tuple[int, ...]  # tags and numbers of items in turn
    attribute: str  # its keyword
    text: str = ""  # a word, or the value of the original


@dataclass(frozen=True)
class KeyedImage:
    """One image and the key to it."""

    dataset: Dataset
    burned_in: Sides | None  # where text stands in its pixels
    key: tuple[Expectation, ...]


@dataclass(frozen=True)
class KeyedStudy:
    """The images of one study."""

    kind: str
    syntax: UID
    images: tuple[KeyedImage, ...]


def make_answer_key(seed: int, *, kinds: Sequence[str] = KINDS, patients: int = PATIENTS) -> tuple[KeyedStudy, ...]:
    """Two studies of each patient, whose kinds follow in turn; equal calls give an equal set."""
    random = Random(seed)
    return tuple(
        _study(random, _person(random), number, kinds[(2 * number + study) % len(kinds)], study)
        for number in range(patients)
        for study in range(2)
    )


def _person(random: Random) -> dict[str, str]:
    """What headers say of one patient, by the names that stand in braces."""
    place = planted.place(random)
    return {
        "surname": planted.surname(random), "given": planted.given_name(random), "mrn": planted.number(random),
        "physician": planted.surname(random), "operator": planted.surname(random), "town": place,
        "hospital": f"{place} General Hospital", "phone": planted.phone(random),
        "street": f"{random.randint(100, 999)} {planted.place(random)} Lane", "scheme": f"99{place}",
        "birth": f"{random.randint(1935, 1995)}{random.randint(1, 12):02}{random.randint(1, 28):02}",
    }  # fmt: skip


def _study(random: Random, person: dict[str, str], patient: int, kind: str, number: int) -> KeyedStudy:
    study = f"key {patient} {number}"
    year = 2012 + number
    header = objects.Header(
        patient_id=person["mrn"],
        patient_name="{surname}^{given}",
        birth_date=person["birth"],
        age=f"{year - int(person['birth'][:4]) - 1:03}Y",
        study_uid=objects.uid(study),
        series_uid=objects.uid(study, kind),
        accession="{number}",
        study_date=f"{year}{random.randint(1, 12):02}{random.randint(1, 28):02}",
        charset="ISO_IR 192",
    )
    words = person | {"number": planted.number(random)}
    images = []
    for image in range(1, COUNTS[kind] + 1):
        burned_in = BURNED_IN if kind in {"DX", "CR"} and image == 1 else None
        dataset = _image(random, header, kind, number=image, burned_in=burned_in, name=person["surname"])
        _describe(random, dataset, kind)
        key = tuple(_fill(random, dataset, words, ()))
        images.append(KeyedImage(dataset, burned_in, (*key, *_pixel_key(burned_in))))
    syntax = ImplicitVRLittleEndian if patient % 2 else ExplicitVRLittleEndian
    return KeyedStudy(kind, syntax, tuple(images))


def _image(
    random: Random, header: objects.Header, kind: str, *, number: int, burned_in: Sides | None, name: str
) -> Dataset:
    """One image before its texts are written."""
    noise = np.random.default_rng(random.randrange(2**32)).integers(100, 3000, (SIZE, SIZE))
    if burned_in:
        label = Image.new("L", (SIZE, SIZE))
        ImageDraw.Draw(label).text((burned_in.left + 2, burned_in.top + 2), name, fill=255)
        noise[np.asarray(label) > 0] = 4000
    if kind in {"DX", "CR"}:
        view = random.choice(("PA", "AP"))
        dataset = objects.radiograph(noise.astype(np.uint16), header, view=view, modality=kind)
        dataset.SOPInstanceUID = objects.uid(header.series_uid, number)
        dataset.InstanceNumber = number
        dataset.BurnedInAnnotation = "YES" if burned_in else "NO"
        return dataset
    dataset = objects.ct_slice((noise - 1024).astype(np.int16), header, number=number, position=3.0 * number)
    if kind == "MR":
        without = dict.fromkeys(("KVP", "ConvolutionKernel", "RescaleIntercept", "RescaleSlope", "RescaleType"))
        changed(dataset, {**without, "SOPClassUID": MRImageStorage, "Modality": "MR", **_TEXTS["mr"]})
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    return dataset


def _describe(random: Random, dataset: Dataset, kind: str) -> None:
    """Write a drawn text, still with braces, into every attribute that holds one."""
    texts: Mapping[str, list[str]] = {**_TEXTS["every"], **_TEXTS[kind]}
    for keyword, choices in texts.items():
        setattr(dataset, keyword, random.choice(choices))
    dataset.Manufacturer, dataset.ManufacturerModelName = random.choice(_TEXTS["devices"][kind])
    dataset.DeviceSerialNumber, dataset.StationName = (
        str(random.randint(20_000, 69_999)),
        f"{kind}{random.randint(1, 9)}",
    )
    dataset.PatientSize, dataset.PatientWeight = "1.7", str(random.randint(50, 99))
    dataset.OperatorsName, dataset.ReferringPhysicianName = "{operator}", "{physician}"
    for keyword in ("RequestAttributesSequence", "AnatomicRegionSequence", "ProcedureCodeSequence"):
        item = Dataset()
        for inner, choices in _TEXTS[keyword].items():
            setattr(item, inner, random.choice(choices))
        setattr(dataset, keyword, Items([item]))
    reference = Dataset()
    reference.ReferencedSOPClassUID = dataset.SOPClassUID
    reference.ReferencedSOPInstanceUID = objects.uid(dataset.StudyInstanceUID, dataset.SeriesInstanceUID, 1)
    dataset.ReferencedImageSequence = Items([reference])
    for group, creator, offset, vr, choices in _TEXTS["private"][kind]:
        dataset.private_block(group, creator, create=True).add_new(offset, vr, random.choice(choices))


def _fill(random: Random, dataset: Dataset, words: Mapping[str, str], path: tuple[int, ...]) -> Iterator[Expectation]:
    """Put words for the braces of a data set at every depth, and say what must become of each of its elements."""
    for element in dataset:
        here = (*path, int(element.tag))
        if element.VR == "SQ":
            for number, item in enumerate(element.value):
                yield from _fill(random, item, words, (*here, number))
        elif element.tag.is_private_creator or element.VR in {"OB", "OW"}:
            continue
        elif element.VR in _FORMATTED and element.value and element.keyword != "PatientID":
            yield from _fill_text(random, element, words, here)
        else:
            yield from _plain(element, here)
        if element.keyword in _ALWAYS:
            yield Expectation(Action.TEXT_NOT_NULL, here, element.keyword)


def _fill_text(
    random: Random, element: DataElement, words: Mapping[str, str], path: tuple[int, ...]
) -> Iterator[Expectation]:
    """Put words for the braces of one text: those must go, what stands around them must stay."""
    text, attribute = "", element.keyword or element.name[1:-1]
    for literal, name, _, _ in Formatter().parse(str(element.value)):
        text += literal
        stays = (word for word in planted.words_of(literal) if word not in _UNJUDGED)
        yield from (Expectation(Action.TEXT_RETAINED, path, attribute, word) for word in stays)
        if name:
            drawn = words.get(name) or planted.KINDS[name.replace("_", " ")](random)
            text += drawn
            yield Expectation(Action.TEXT_REMOVED, path, attribute, drawn)
    element.value = text


def _plain(element: DataElement, path: tuple[int, ...]) -> Iterator[Expectation]:
    """What must become of an element that is no text with braces."""
    value: Any = element.value
    keyword = element.keyword or element.name[1:-1]
    text = "\\".join(map(str, value)) if element.VM > 1 else str(value)
    if text == "" or keyword == "BurnedInAnnotation":
        yield Expectation(Action.TAG_RETAINED, path, keyword)
    elif keyword == "PatientID":
        yield Expectation(Action.TEXT_REMOVED, path, keyword, text)
        yield Expectation(Action.PATIENT_CONSISTENT, path, keyword, text)
    elif element.VR == "UI" and text not in UID_dictionary:
        yield Expectation(Action.UID_CHANGED, path, keyword, text)
        yield Expectation(Action.UID_CONSISTENT, path, keyword, text)
    elif element.VR in _DATED:
        yield Expectation(Action.TEXT_REMOVED if keyword == _BIRTH else Action.DATE_SHIFTED, path, keyword, text)
    else:
        yield Expectation(Action.TEXT_RETAINED, path, keyword, text)


def _pixel_key(burned_in: Sides | None) -> Iterator[Expectation]:
    """Text in the pixels must be hidden, all pixels around it must stay."""
    if burned_in:
        yield Expectation(Action.PIXELS_HIDDEN, (0x7FE00010,), "PixelData")
    yield Expectation(Action.PIXELS_RETAINED, (0x7FE00010,), "PixelData")
