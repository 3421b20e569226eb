"""The traps that made other tools leak, each planted on the top level and, where possible, three levels deep."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from site_node.study import Ending, Identity
from tests.factories.deidentified import PSEUDONYMS, Outcome, file_of, run_bytes, run_one
from tests.factories.dicom import SECRETS, make_ct, make_dx, plant_identifiers, write_file

SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
)
SECRET = "Zanzibarova"  # a surname
LEVELS = (0, 3)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what is planted on purpose


def nested(dataset: Dataset, levels: int) -> Dataset:
    """The data set `levels` deep in kept sequences, where a trap can be planted."""
    for _ in range(levels):
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "51185008", "SCT", "Chest"
        dataset.AnatomicRegionSequence = Items([item])
        dataset = item
    return dataset


def leaks(outcome: Outcome, text: str = SECRET) -> bool:
    """Whether a text is in the new file, in any case."""
    assert outcome.raw, outcome.code
    return text.lower().encode() in outcome.raw.lower()


def at_depth(outcome: Outcome, levels: int) -> Dataset:
    """The data set where a trap was planted, in the new file."""
    dataset: Dataset = outcome.dataset
    for _ in range(levels):
        dataset = dataset.AnatomicRegionSequence[0]
    return dataset


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_nothing_planted_is_left(tmp_path: Path, syntax: UID) -> None:
    """No planted text is in the new file, whatever its transfer syntax."""
    dataset = make_dx()
    planted = plant_identifiers(dataset)
    outcome = run_one(tmp_path, dataset, syntax)
    assert [text for text in planted if leaks(outcome, text)] == []


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_pixels_are_untouched(tmp_path: Path, syntax: UID) -> None:
    """Frames come out as they went in: byte for byte, apart from the byte order of big endian files."""
    dataset = make_dx()
    expected = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns)
    assert (run_one(tmp_path, dataset, syntax).dataset.pixel_array == expected).all()


def test_preamble_and_file_meta_are_new(tmp_path: Path) -> None:
    """The preamble is zero, and file meta is new: no AE title, no private information, the new UID."""
    dataset = make_dx()
    path = write_file(dataset, tmp_path / "one", preamble=SECRET.encode().ljust(128, b"x"))
    outcome = run_bytes(tmp_path, dataset, path.read_bytes())
    assert outcome.raw[:128] == bytes(128)
    meta = outcome.dataset.file_meta
    assert meta.MediaStorageSOPInstanceUID == outcome.dataset.SOPInstanceUID
    assert {element.tag.element for element in meta} == {0x0, 0x1, 0x2, 0x3, 0x10, 0x12, 0x13}


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize(
    "keyword",
    [
        "PatientAddress",
        "InstitutionName",
        "ReferringPhysicianName",
        "PatientComments",
        "OtherPatientNames",
        "StationName",
        "DeviceSerialNumber",
        "DerivationDescription",
        "ImageComments",
        "RequestingService",
        "InterpretationAuthor",
        "LongCodeValue",
    ],
)
def test_named_text_is_removed_or_emptied(tmp_path: Path, keyword: str, levels: int) -> None:
    """Identifying attributes go at every depth."""
    dataset = make_dx()
    setattr(nested(dataset, levels), keyword, SECRET)
    outcome = run_one(tmp_path, dataset)
    assert not leaks(outcome)
    assert not at_depth(outcome, levels).get(keyword)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("keyword", ["Manufacturer", "SoftwareVersions", "BodyPartExamined", "ConvolutionKernel"])
@pytest.mark.parametrize("written", [SECRET, SECRET.upper(), f"made by {SECRET.lower()}7", "Zanzi barova"])
def test_the_patient_in_technical_text(tmp_path: Path, keyword: str, written: str, levels: int) -> None:
    """A kept text that names the patient, however written, loses the name; `by` is a word."""
    dataset = make_dx(PatientName=f"{SECRET}^Ada")
    element = nested(dataset, levels)
    setattr(element, keyword, written.upper() if keyword == "BodyPartExamined" else written)
    outcome = run_one(tmp_path, dataset)
    assert not leaks(outcome)
    assert at_depth(outcome, levels).get(keyword) in {"", None, "by"}


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("tag", [0x00200013, 0x00180050, 0x00080030, 0x00101010])
def test_text_in_a_number(tmp_path: Path, tag: int, syntax: UID, levels: int) -> None:
    """What lacks the form of its value representation is emptied: text does not travel as a number."""
    dataset = make_dx(InstanceNumber=None, SliceThickness=None, StudyTime=None, PatientAge=None)
    vr = {0x00200013: "IS", 0x00180050: "DS", 0x00080030: "TM", 0x00101010: "AS"}[tag]
    nested(dataset, levels).add_new(tag, vr, ["123456", "12345"] if vr in {"IS", "DS"} else "123456\\12345")
    content = write_file(dataset, tmp_path / "one", syntax).read_bytes()
    assert content.count(b"123456\\12345") == 1
    outcome = run_bytes(tmp_path, dataset, content.replace(b"123456\\12345", SECRET.encode() + b" "))
    if tag == 0x00101010:
        assert (outcome.code, outcome.ending) == ("malformed-age", Ending.QUARANTINED)
    else:
        assert not leaks(outcome)


@pytest.mark.parametrize("keyword", ["SeriesNumber", "AcquisitionNumber"])
def test_the_patients_number_as_a_number(tmp_path: Path, keyword: str) -> None:
    """A number that is the PatientID or the accession number is emptied."""
    outcome = run_one(tmp_path, make_dx(PatientID="123456", **{keyword: 123456}))  # type: ignore[arg-type]  # as above
    assert outcome.dataset.get(keyword) is None


@pytest.mark.parametrize("levels", LEVELS)
def test_private_elements_go(tmp_path: Path, levels: int) -> None:
    """Private creators, elements, sequences and orphans go; only our own block is there."""
    dataset = make_dx()
    inner = nested(dataset, levels)
    block = inner.private_block(0x0029, "SIEMENS MED NM", create=True)
    block.add_new(0x10, "LO", SECRET)
    item = Dataset()
    item.PatientName = SECRET
    block.add_new(0x11, "SQ", Items([item]))
    inner.add_new(0x00311077, "UN", SECRET.encode())
    inner.add_new(0x00130010, "LO", "CTP")
    inner.add_new(0x00131010, "LO", SECRET)
    outcome = run_one(tmp_path, dataset)
    assert not leaks(outcome)
    private = {int(element.tag) for element in outcome.dataset.iterall() if element.tag.is_private}
    assert private == {0x00130010, 0x00131001, 0x00131003}
    assert outcome.dataset[0x00131001].value == "654321"


@pytest.mark.parametrize(
    "tag", [0x60003000, 0x50003000, 0x00880200, 0x04000561, 0x04000550, 0xFFFAFFFA, 0x04000404, 0xFFFCFFFC, 0x00324000]
)
def test_groups_that_go_whole(tmp_path: Path, tag: int) -> None:
    """Overlays, curves, icons, original and modified attributes, signatures, MACs, trailing padding."""
    dataset = make_dx()
    item = Dataset()
    item.add_new(0x00104000, "LT", SECRET)
    is_sequence = tag in {0x00880200, 0x04000561, 0x04000550, 0xFFFAFFFA}
    dataset.add_new(tag, "SQ" if is_sequence else "OB", Items([item]) if is_sequence else SECRET.encode() + b" ")
    outcome = run_one(tmp_path, dataset)
    assert not leaks(outcome)
    assert tag not in outcome.dataset


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize(
    "tag", [0x00200242, 0x00209312, 0x00280304, 0x00081155, 0x0020000E, 0x00083010, 0x00081150, 0x0008000D]
)
def test_uids_are_mapped(tmp_path: Path, tag: int, levels: int) -> None:
    """Every UID is mapped but those that the Standard registers; what the table does not name is gone."""
    dataset = make_dx()
    inner = nested(dataset, levels)
    if tag not in inner:
        inner.add_new(tag, "UI", "1.2.3.4.5")
    original = inner[tag].value
    outcome = run_one(tmp_path, dataset)
    element = at_depth(outcome, levels).get(tag)
    assert element is None or element.value == PSEUDONYMS.uid(original)
    assert b"1.2.3.4.5" not in outcome.raw


def test_a_registered_uid_stays(tmp_path: Path) -> None:
    """A UID of PS3.6 Annex A identifies nobody."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    outcome = run_one(tmp_path, make_dx(ReferencedImageSequence=Items([item])))
    reference = outcome.dataset.ReferencedImageSequence[0]
    assert reference.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert reference.ReferencedSOPInstanceUID == PSEUDONYMS.uid("1.2.3")


@pytest.mark.parametrize("text", ["see 1.2.840.113619.2.55.3.1", "1.2.3.4.5.6.7"])
def test_uids_inside_text(tmp_path: Path, text: str) -> None:
    """A UID in a text goes with the text, or is cut out of a description."""
    outcome = run_one(tmp_path, make_dx(Manufacturer=text, SeriesDescription=f"PA {text}"))
    assert outcome.dataset.Manufacturer == ""
    assert outcome.dataset.SeriesDescription in {"PA", "PA see"}


@pytest.mark.parametrize(
    ("age", "expected"),
    [("092Y", "090Y"), ("090Y", "090Y"), ("089Y", "089Y"), ("018M", "018M"), ("003W", "003W"), ("", "")],
)
def test_age(tmp_path: Path, age: str, expected: str) -> None:
    """Over 89 is one group; the rest stays (screening excludes patients under 18)."""
    assert run_one(tmp_path, make_dx(PatientAge=age, PatientBirthDate="")).dataset.PatientAge == expected


@pytest.mark.parametrize("age", ["ABCY", "1000Y", "4.5"])
def test_malformed_age_waits_for_a_person(tmp_path: Path, age: str) -> None:
    """What cannot be read as an age may hide one over 89."""
    dataset = make_dx(PatientAge=None)
    dataset.add_new(0x00101010, "AS", age)
    outcome = run_one(tmp_path, dataset)
    assert (outcome.code, outcome.ending) == ("malformed-age", Ending.QUARANTINED)


@pytest.mark.parametrize("name", ["PatientName", "PatientID"])
def test_name_and_id_are_the_pseudonym(tmp_path: Path, name: str) -> None:
    """PatientName and PatientID are the pseudonym, in every character set and with all component groups."""
    dataset = make_dx(
        SpecificCharacterSet=["", "ISO 2022 IR 87"],
        PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう",
        SeriesDescription="PA 山田",
    )
    outcome = run_one(tmp_path, dataset)
    identity = Identity(issuer="", patient_id=str(dataset.PatientID))
    assert outcome.dataset[name].value == PSEUDONYMS.patient(identity)
    assert "山田".encode("iso2022_jp")[3:7] not in outcome.raw


@pytest.mark.parametrize("terms", ["GB18030", "ISO_IR 192", "ISO_IR 144", ["", "ISO 2022 IR 149"]])
def test_foreign_letters_stay_readable(tmp_path: Path, terms: str | list[str]) -> None:
    """Kept text is copied undecoded and SpecificCharacterSet still fits it; the patient's name is found in it."""
    letters = {"GB18030": "胸部", "ISO_IR 192": "Thorax Schädel", "ISO_IR 144": "грудь"}.get(str(terms), "흉부")
    outcome = run_one(tmp_path, make_dx(SpecificCharacterSet=terms, SeriesDescription=letters))
    assert outcome.dataset.SeriesDescription == letters
    (tmp_path / "again").mkdir()
    named = make_dx(SpecificCharacterSet=terms, PatientName=f"{letters}^x", SeriesDescription=f"{letters} PA")
    assert letters not in str(run_one(tmp_path / "again", named).dataset.SeriesDescription)


def test_an_item_with_a_character_set_of_its_own(tmp_path: Path) -> None:
    """The patient's name is found in an item that is written in other letters' bytes than the file."""
    item = Dataset()
    item.SpecificCharacterSet = "ISO_IR 144"
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "51185008", "SCT", "Иванов лёгкие"
    dataset = make_dx(
        SpecificCharacterSet="ISO_IR 192", PatientName="Иванов^Пётр", AnatomicRegionSequence=Items([item])
    )
    assert "Иванов".encode("iso8859_5") in file_of(tmp_path, dataset)
    assert "Иванов".encode("iso8859_5") not in run_one(tmp_path, dataset).raw


def test_an_unknown_character_set_is_refused(tmp_path: Path) -> None:
    """Text that cannot be read cannot be searched."""
    dataset = make_dx(SpecificCharacterSet="ISO_IR 100")
    content = write_file(dataset, tmp_path / "one").read_bytes().replace(b"ISO_IR 100", b"ISO_IR 999")
    assert run_bytes(tmp_path, dataset, content).code == "unknown-character-set"


@pytest.mark.parametrize(
    ("change", "code", "ending"),
    [
        ({"BurnedInAnnotation": "YES"}, "burned-in-annotation", Ending.QUARANTINED),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "kind-may-hold-text", Ending.QUARANTINED),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1"}, "kind-may-hold-text", Ending.QUARANTINED),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.4"}, "kind-may-hold-text", Ending.QUARANTINED),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "screen-or-report", Ending.QUARANTINED),
        ({"ImageType": ["DERIVED", "SECONDARY", "DOSE_INFO"]}, "screen-or-report", Ending.QUARANTINED),
        ({"ConversionType": "WSD"}, "screen-or-report", Ending.QUARANTINED),
        ({"SequenceOfUltrasoundRegions": Items([Dataset()])}, "ultrasound-region", Ending.QUARANTINED),
        ({"PatientID": " "}, "no-identity", Ending.QUARANTINED),
        *(
            ({"SOPClassUID": f"1.2.840.10008.5.1.4.1.1.{tail}"}, "kind-not-allowed", Ending.REFUSED)
            for tail in ("88.11", "88.59", "11.1", "104.1", "104.2", "104.3", "9.1.1", "66", "66.4", "481.3", "4")
        ),
        ({"SOPClassUID": "1.2.840.10008.1.3.10"}, "kind-not-allowed", Ending.REFUSED),
        ({"SOPClassUID": "1.2.3.4"}, "kind-not-allowed", Ending.REFUSED),
        ({"SeriesInstanceUID": ""}, "no-identifiers", Ending.REFUSED),
    ],
)
def test_objects_that_do_not_go_on(tmp_path: Path, change: dict[str, object], code: str, ending: Ending) -> None:
    """Reports, documents, presentation states, waveforms, raw data: refused. Pixels with text: a person."""
    outcome = run_one(tmp_path, make_dx(**change))  # type: ignore[arg-type]  # attribute changes are any
    assert (outcome.code, outcome.ending) == (code, ending)


def test_an_overlay_in_the_pixels_waits_for_a_person(tmp_path: Path) -> None:
    """An overlay in unused bits of the pixel data is not removed with group 60xx."""
    dataset = make_dx()
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 15)
    assert run_one(tmp_path, dataset).code == "overlay-in-pixels"


def test_marks_of_deidentification(tmp_path: Path) -> None:
    """PS3.15 E.1.1: YES, the method, codes for what was done and earlier ones that are still true; dates MODIFIED."""
    known, false_now, unknown = Dataset(), Dataset(), Dataset()
    for item, code in ((known, "113101"), (false_now, "113110"), (unknown, "99999")):
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "DCM", SECRET
    dataset = make_dx(
        DeidentificationMethod=SECRET, DeidentificationMethodCodeSequence=Items([known, false_now, unknown])
    )
    outcome = run_one(tmp_path, dataset)
    new = outcome.dataset
    assert (new.PatientIdentityRemoved, new.LongitudinalTemporalInformationModified) == ("YES", "MODIFIED")
    assert new.DeidentificationMethod.startswith("RICORD")
    codes = [item.CodeValue for item in new.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113101", "113105", "113107", "113108", "113109"]
    assert not leaks(outcome)


def test_the_cleaner_is_claimed_only_where_it_ran(tmp_path: Path) -> None:
    """Without a description there is no code 113105."""
    dataset = make_dx(StudyDescription=None, SeriesDescription=None, AnatomicRegionSequence=None)
    codes = run_one(tmp_path, dataset).dataset.DeidentificationMethodCodeSequence
    assert "113105" not in [item.CodeValue for item in codes]


def test_a_value_of_a_wrong_representation_is_emptied(tmp_path: Path) -> None:
    """A standard attribute under another representation than its own may hold anything."""
    dataset = make_dx(KVP=None)
    dataset.add_new(0x00180060, "LT", SECRET)
    outcome = run_one(tmp_path, dataset)
    assert not leaks(outcome)
    assert not outcome.dataset.get("KVP")


@pytest.mark.parametrize("levels", LEVELS)
def test_un_encoded_standard_elements(tmp_path: Path, levels: int) -> None:
    """UN is read by the table's own representation: kept, mapped or removed as if it had been written so."""
    dataset = make_dx(KVP=None, FrameOfReferenceUID=None)
    inner = nested(dataset, levels)
    inner.add_new(0x00180060, "UN", b"120 ")
    inner.add_new(0x00200052, "UN", b"1.2.3.99")
    inner.add_new(0x00104000, "UN", SECRET.encode() + b" ")
    outcome = run_one(tmp_path, dataset)
    new = at_depth(outcome, levels)
    assert not leaks(outcome)
    assert (new.KVP, new.FrameOfReferenceUID) == (120, PSEUDONYMS.uid("1.2.3.99"))


def test_enhanced_functional_groups_are_cleaned_and_kept(tmp_path: Path) -> None:
    """Functional groups stay, without names, with dates shifted."""
    content, plane, group = Dataset(), Dataset(), Dataset()
    content.FrameAcquisitionDateTime, content.FrameComments = "20210302101010.5+0100", SECRET
    plane.ImagePositionPatient = [1, 2, 3]
    group.FrameContentSequence, group.PlanePositionSequence = Items([content]), Items([plane])
    dataset = make_ct(slices=1)[0]
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    dataset.NumberOfFrames = 1
    dataset.PerFrameFunctionalGroupsSequence = Items([group])
    outcome = run_one(tmp_path, dataset)
    new_group = outcome.dataset.PerFrameFunctionalGroupsSequence[0]
    assert not leaks(outcome)
    assert list(new_group.PlanePositionSequence[0].ImagePositionPatient) == [1, 2, 3]
    assert str(new_group.FrameContentSequence[0].FrameAcquisitionDateTime)[8:] == "101010.5"


def test_glued_and_recased_names_leave_a_description(tmp_path: Path) -> None:
    """Glued and re-cased names in descriptions are cut out; the rest of the description stays."""
    name = f"{SECRETS.family.upper()}{SECRETS.given.lower()}"
    dataset = make_dx(
        PatientName=f"{SECRETS.family}^{SECRETS.given}",
        ReferringPhysicianName="Ohm^Georg",
        SeriesDescription=f"PA {name} 12.03.2021 Dr. Volt erect Ohm",
    )
    assert run_one(tmp_path, dataset).dataset.SeriesDescription == "PA erect"
