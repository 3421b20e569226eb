"""No file's new bytes depend on what its cache learned from other files (`site_node/deidentify/series_cache.py`).

Each axis below is something that an answer may depend on. Files that differ along one or more of them go through one
cache in any order, and each must end as it does alone.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from shared.errors.studies import DicomUnsupported
from shared.ids import SiteId
from shared.protocol.loader import load_profile
from site_node.deidentify import fast_reader
from site_node.deidentify.context import StudyContext, study_identifiers
from site_node.deidentify.identifiers import IdentifyingValue, find_identifiers
from site_node.deidentify.series_cache import SeriesCache
from site_node.deidentify.study import rewritten
from site_node.deidentify.study_reader import opened
from site_node.dicom.elements import ParsedFile
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Identity
from tests.factories.deidentified import bytes_of_new
from tests.factories.dicom import make_ct, write_file

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what is wrong on purpose
Case = Mapping[str, object]
CYRILLIC = "Мм".encode()  # two letters in UTF-8, four in every other character set below
PROFILES = {name: load_profile(name) for name in ("ricord-2020", "ricord", "tcia")}
# A profile may differ in a value alone and keep its digest.
PROFILES["other-words"] = PROFILES["ricord-2020"].model_copy(update={"known_terms": frozenset({"thorax"})})
_REGION = 0x00082218  # AnatomicRegionSequence, which implicit VR marks as a sequence nowhere
PROFILES["no-region"] = PROFILES["ricord"].model_copy(
    update={"rules": tuple(rule for rule in PROFILES["ricord"].rules if rule.tag != _REGION)}
)
PSEUDONYMS = {site: Pseudonyms(bytes(range(32)), SiteId(site)) for site in ("654321", "123456")}
STUDY = str(make_ct(slices=1)[0].StudyInstanceUID)
# The first value of each axis makes a file that goes on.
OF_THE_CONTEXT: dict[str, Sequence[object]] = {
    "profile": ["ricord-2020", "ricord", "tcia", "other-words", "no-region"],
    "site": list(PSEUDONYMS),
    "patient": ["7731904", "P8"],
    "name": ["Tracker", "Quillfeather", "Мм"],
    "searched": [False, True],
    "study": [STUDY, "1.2.3.4"],
}
OF_THE_FILE: dict[str, Sequence[object]] = {
    "syntax": [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless],
    "SpecificCharacterSet": ["ISO_IR 100", "ISO_IR 192", "ISO_IR 144", None],
    "character set of an item": [None, "ISO_IR 192", "ISO_IR 144"],
    "StudyDate": ["20200103", "19800103", None],
    "PatientBirthDate": ["19050103", "19800103"],
    "SOPClassUID": [CTImageStorage, DigitalXRayImageStorageForPresentation, SecondaryCaptureImageStorage],
    "PhotometricInterpretation": ["MONOCHROME2", "PALETTE COLOR"],
    "SeriesInstanceUID": ["1.2.3.5", "1.2.3.6"],
    "SOPInstanceUID": ["1.2.3.7", "1.2.3.8"],
    "PatientID": ["7731904", "P8"],
    "StudyInstanceUID": [STUDY, "1.2.3.4"],
    "creator": ["GEMS_ACQU_01", "SIEMENS MR HEADER", "ANYBODY"],
    "creator in an item": ["GEMS_ACQU_01", "SIEMENS MR HEADER", "ANYBODY"],
    "method": [None, "113101", "113107"],
    "Rows": [32, 31],
    "BurnedInAnnotation": [None, "YES"],
    "ImageType": ["ORIGINAL\\PRIMARY\\AXIAL", "DERIVED\\SECONDARY\\SCREEN SAVE"],
    "SeriesDescription": ["QQQQ chest Tracker Quillfeather", "chest " * 11],
    "BodyPartExamined": ["CHEST", "QUILLFEATHER"],
    "KVP": ["120", "7731904"],
    "WindowCenter": ["40", "50"],
    "ultrasound region": [False, True],
    "overlay": [None, 0, 1],
    "described": [True, False],
    "pixels missing": [0, 2],
    "blanked": [False, True],
}
AXES: Mapping[str, Sequence[object]] = {**OF_THE_CONTEXT, **OF_THE_FILE}
PLAIN: Case = {name: values[0] for name, values in AXES.items()}
# What an axis needs of the others to decide anything.
COMPANIONS: Mapping[str, Case] = {
    "searched": {"BurnedInAnnotation": "YES"},
    "profile": {"syntax": ImplicitVRLittleEndian},
    "described": {"profile": "tcia"},
    "SpecificCharacterSet": {"name": "Мм"},
    "character set of an item": {"name": "Мм"},
    "creator": {"profile": "tcia"},
    "creator in an item": {"profile": "tcia"},
}
KEYWORDS = frozenset(name for name in OF_THE_FILE if pydicom.datadict.tag_for_keyword(name))


def dataset_of(case: Case) -> Dataset:
    """The data set that a case describes."""
    (dataset,) = make_ct(slices=1)
    dataset.PatientAge = ""
    for name in KEYWORDS:
        if case[name] is None:
            dataset.pop(name, None)
        else:
            setattr(dataset, name, case[name])
    dataset.ReferringPhysicianName = str(case.get("physician", ""))  # it is removed
    for start in (0x00281101, 0x00281201):
        for tag in range(start, start + 3):
            dataset.add_new(tag, "US" if start == 0x00281101 else "OW", [2, 0, 8] if start == 0x00281101 else b"\1\2")
    dataset.AnatomicRegionSequence = Items([item_of(case)])
    add_private(dataset, str(case["creator"]))
    if case["method"]:
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = case["method"], "DCM", "done before"
        dataset.DeidentificationMethodCodeSequence = Items([code])
    if case["ultrasound region"]:
        dataset.SequenceOfUltrasoundRegions = Items([Dataset()])
    dataset.ImageLaterality = "ZANZIBAROVA"  # of Type 1 in some kinds of image
    if not case["described"]:
        del dataset.SeriesDescription, dataset.StudyDescription, dataset.AnatomicRegionSequence
    if case["pixels missing"] and case["syntax"] != RLELossless:  # an encoder has all of them
        dataset.PixelData = dataset.PixelData[: -int(str(case["pixels missing"]))]
    if case["overlay"] is not None:
        dataset.add_new(0x60000102, "US", case["overlay"])
    return dataset


def item_of(case: Case) -> Dataset:
    """A code with a meaning in words, in a character set of its own if the case says so."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "T-D3000", "SRT", "QQQQ chest"
    if case["character set of an item"]:
        item.SpecificCharacterSet = case["character set of an item"]
    add_private(item, str(case["creator in an item"]))
    return item


def add_private(dataset: Dataset, creator: str) -> None:
    """One private element whose meaning its creator decides."""
    dataset.add_new(0x00190010, "LO", creator)
    dataset.add_new(0x00191027, "UN", b"12.5    ")


@dataclass
class Files:
    """Sources in a folder, one for each case."""

    folder: Path
    paths: dict[str, Path] = field(default_factory=dict)

    def of(self, case: Case) -> Path:
        """The file of a case."""
        name = repr(sorted((name, str(value)) for name, value in case.items() if name not in OF_THE_CONTEXT))
        if name not in self.paths:
            syntax = case["syntax"]
            assert isinstance(syntax, UID)
            path = write_file(dataset_of(case), self.folder / str(len(self.paths)), syntax)
            content = path.read_bytes().replace(b"QQQQ", CYRILLIC)
            path.write_bytes(content)
            self.paths[name] = path
        return self.paths[name]


class Contexts:
    """A context for each study, profile and patient."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], StudyContext] = {}

    def of(self, case: Case) -> StudyContext:
        """The context of a case."""
        key = tuple(case[name] for name in OF_THE_CONTEXT)
        if key not in self._known:
            identity = Identity(issuer="", patient_id=str(case["patient"]))
            values = [IdentifyingValue(0x00100010, ("utf8",), str(case["name"]).encode())]
            self._known[key] = StudyContext(
                profile=PROFILES[str(case["profile"])],
                pseudonyms=PSEUDONYMS[str(case["site"])],
                identity=identity,
                study_instance_uid=str(case["study"]),
                identifiers=find_identifiers(values, (identity.patient_id,)),
                searched=bool(case["searched"]),
            )
        return self._known[key]


def parsed_of(path: Path, case: Case, learned: SeriesCache) -> ParsedFile:
    """One file as it is read with what was learned before."""
    with opened(path) as file:
        parsed = fast_reader.read_source(file, learned.reading(PROFILES[str(case["profile"])]))
    assert parsed is not None
    return parsed


def ending(path: Path, case: Case, contexts: Contexts, learned: SeriesCache) -> bytes | str:
    """The new bytes of a file, or the code of its refusal."""
    try:
        parsed = parsed_of(path, case, learned)
        with opened(path) as file:
            new = rewritten(parsed, file, contexts.of(case), learned, blanked=bool(case["blanked"]))
    except DicomUnsupported as error:
        return error.fields["code"]
    return bytes_of_new(path, new)


def check(cases: Sequence[Case]) -> list[bytes | str]:
    """The endings of the cases one after another through one cache, each held against its ending alone."""
    learned, contexts = SeriesCache(), Contexts()
    with tempfile.TemporaryDirectory() as name:
        files = Files(Path(name))
        endings = []
        for case in cases:
            alone = ending(files.of(case), case, Contexts(), SeriesCache())
            assert ending(files.of(case), case, contexts, learned) == alone
            endings.append(alone)
    return endings


@pytest.mark.parametrize("axis", AXES)
def test_files_that_differ_in_one_thing_end_as_alone(axis: str) -> None:
    """There and back along one axis; the axis decides something, so that a stale answer would show."""
    there = [{**PLAIN, **COMPANIONS.get(axis, {}), axis: value} for value in AXES[axis]]
    endings = check([*there, *there, *reversed(there)])
    check([*reversed(there), *there])
    assert any(isinstance(ending, bytes) for ending in endings), endings
    assert len(set(endings)) > 1


@given(data=st.data())
@settings(max_examples=60)
def test_files_that_differ_in_anything_end_as_alone(data: st.DataObject) -> None:
    """Files that share some values and differ in others, in any order and any number of times."""
    base = {name: data.draw(st.sampled_from(values), name) for name, values in draw_few(data, "common").items()}
    cases: list[Case] = [{**PLAIN, **base}]
    for number in range(data.draw(st.integers(1, 3), "files")):
        other = {name: data.draw(st.sampled_from(values), name) for name, values in draw_few(data, str(number)).items()}
        cases.append({**PLAIN, **base, **other})
    check(data.draw(st.lists(st.sampled_from(cases), min_size=2, max_size=8), "order"))


@given(
    drawn=st.lists(
        st.tuples(
            *(st.sampled_from(OF_THE_FILE[axis]) for axis in ("syntax", "SpecificCharacterSet", "creator")),
            st.sampled_from(["Zanzibarova", "Quillfeather", "QQQQ"]),
        ),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=30)
def test_what_files_name_is_what_each_names_alone(
    drawn: list[tuple[object, object, object, str]],
) -> None:
    """Names gathered through one cache are the union of those that each file has alone; another name is noticed."""
    profile, identity, learned = PROFILES["ricord"], Identity(issuer="", patient_id="7731904"), SeriesCache()
    gathered, alone = study_identifiers(profile, identity), set[str]()
    with tempfile.TemporaryDirectory() as name:
        files = Files(Path(name))

        def path_of(syntax: object, character_set: object, creator: object, family: str) -> tuple[Path, Case]:
            case = {**PLAIN, "syntax": syntax, "SpecificCharacterSet": character_set, "creator": creator}
            return files.of({**case, "physician": f"Dr^{family}"}), case

        for values in drawn:
            path, case = path_of(*values)
            gathered.collect(parsed_of(path, case, learned))
            own = study_identifiers(profile, identity)
            own.collect(parsed_of(path, case, SeriesCache()))
            assert gathered.cover(parsed_of(path, case, SeriesCache()))
            alone |= own.identifiers().names
        assert gathered.identifiers().names == alone
        path, case = path_of(*drawn[0][:3], "Nobodyelse")
        assert not gathered.cover(parsed_of(path, case, learned))
        assert not gathered.cover(parsed_of(path, case, learned))


def draw_few(data: st.DataObject, label: str) -> Mapping[str, Sequence[object]]:
    """One to three axes."""
    names = data.draw(st.sets(st.sampled_from(sorted(AXES)), min_size=1, max_size=3), label)
    return {name: AXES[name] for name in names}
