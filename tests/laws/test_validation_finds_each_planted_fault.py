"""Laws of validation: a clean study passes, and each kind of leak or damage planted in it is found."""

import hashlib
import stat
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from shared.ids import PatientPseudonym, Sha256, SiteId
from shared.protocol.loader import load_profile
from site_node.deidentify.study import deidentify
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Deidentified, Included, Refused, Validated
from site_node.validate.conformance import check_output
from site_node.validate.validation import validate
from tests.factories.dicom import SECRETS, make_ct, make_dx, plant_identifiers
from tests.factories.studies import make_included, make_received

SITE = SiteId("123456")
PROFILE = load_profile()
PSEUDONYMS = Pseudonyms(b"k" * 32, SITE)
Change = Callable[[Dataset], object]


def _study(folder: Path, datasets: list[Dataset], syntax: UID = ExplicitVRLittleEndian) -> Included:
    folder.mkdir(exist_ok=True)
    return make_included(make_received(folder, datasets, syntax))


def _planted(folder: Path, *, syntax: UID = ExplicitVRLittleEndian, kind: str = "dx") -> tuple[Included, Deidentified]:
    """A study full of identifiers, and its de-identified output."""
    datasets = make_ct(slices=2) if kind == "ct" else [make_dx(SourceImageSequence=None)]
    for dataset in datasets:
        plant_identifiers(dataset)
        dataset.FrameOfReferenceUID = "1.2.392.200036.9116.2.5.1.48"
    source = _study(folder / "in", datasets, syntax)
    output = deidentify(source, profile=PROFILE, pseudonyms=PSEUDONYMS, out=folder / "out")
    assert isinstance(output, Deidentified)
    return source, output


def _check(folder: Path, source: Included, output: Deidentified) -> Validated | Refused:
    return validate(source, output, profile=PROFILE, pseudonyms=PSEUDONYMS, report=folder / "report.json")


def _rewritten(output: Deidentified, content: bytes) -> Deidentified:
    """The study as if its stage had written other bytes into its first file."""
    first = output.instances[0]
    first.path.write_bytes(content)
    record = first.model_copy(update={"size": len(content), "sha256": Sha256(hashlib.sha256(content).hexdigest())})
    return output.model_copy(update={"instances": (record, *output.instances[1:])})


def _changed(output: Deidentified, change: Change) -> Deidentified:
    path = output.instances[0].path
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)
    return _rewritten(output, path.read_bytes())


def _codes(result: Validated | Refused) -> set[str]:
    return (
        {reason.code.removeprefix("validate-") for reason in result.reasons} if isinstance(result, Refused) else set()
    )


def _set(keyword: str, value: object) -> Change:
    return lambda dataset: setattr(dataset, keyword, value)


def _private(dataset: Dataset) -> None:
    dataset.private_block(0x0019, "VENDOR", create=True).add_new(0x01, "LO", "harmless")


def _nested_private(dataset: Dataset) -> None:
    _private(dataset.AnatomicRegionSequence[0])


def _more_in_our_block(dataset: Dataset) -> None:
    dataset.add_new(0x00131005, "LO", "harmless")


def _pixel(dataset: Dataset) -> None:
    dataset.PixelData = bytes([dataset.PixelData[0] ^ 1]) + dataset.PixelData[1:]


def _meta(dataset: Dataset) -> None:
    dataset.file_meta.SourceApplicationEntityTitle = "CTROOM2"


LEAKS: dict[str, tuple[Change, str]] = {
    "name": (_set("PatientName", f"{SECRETS.family}^{SECRETS.given}"), "pseudonym"),
    "another pseudonym": (_set("PatientID", "123456-000000000000001"), "patient-mapping"),
    "comment": (_set("PatientComments", "stable"), "not-listed"),
    "private": (_private, "private"),
    "nested private": (_nested_private, "private"),
    "more in our block": (_more_in_our_block, "private"),
    "institution": (_set("InstitutionName", SECRETS.institution), "not-emptied"),
    "birth date": (_set("PatientBirthDate", "19610514"), "not-emptied"),
    "name glued and re-cased": (_set("StudyDescription", f"Chest{SECRETS.family.upper()}x"), "residual-identifier"),
    "name in parts": (_set("SeriesDescription", f"{SECRETS.family[:4]} {SECRETS.family[4:]}"), "residual-identifier"),
    "physician": (_set("StudyDescription", f"Chest {SECRETS.physician.lower()}"), "residual-other"),
    "number in a code": (_set("ManufacturerModelName", SECRETS.patient_id), "residual-identifier"),
    "phone in a label": (_set("SoftwareVersions", "5550199887"), "residual-identifier"),
    "birth date in text": (_set("ManufacturerModelName", "14.05.1961"), "number-in-text"),
    "hospital": (_set("ManufacturerModelName", SECRETS.institution), "residual-other"),
    "accession": (_set("AccessionNumber", SECRETS.accession), "accession-mapping"),
    "true date": (_set("StudyDate", "20200618"), "date-shift"),
    "another shift": (_set("SeriesDate", "20190101"), "date-shift"),
    "source UID": (_set("FrameOfReferenceUID", "1.2.392.200036.9116.2.5.1.48"), "residual-uid"),
    "unmapped UID of ours": (_set("FrameOfReferenceUID", f"1.2.826.0.1.3680043.10.474.{SITE}.77"), "uid-mapping"),
    "foreign UID": (_set("FrameOfReferenceUID", "1.2.3.4.5.6.7"), "foreign-uid"),
    "UID in text": (_set("SeriesDescription", "1.2.392.200036.9116.2.5"), "number-in-text"),
    "long number in text": (_set("SeriesDescription", "Chest 12345678"), "number-in-text"),
    "overlay": (lambda dataset: dataset.add_new(0x60003000, "OW", b"\0" * 4), "not-listed"),
    "padding": (lambda dataset: dataset.add_new(0xFFFCFFFC, "OB", b"abcd"), "not-listed"),
    "age": (_set("PatientAge", "095Y"), "age"),
    "changed value": (_set("KVP", "119"), "added"),
    "changed number": (_set("WindowWidth", "399"), "changed"),
    "pixel": (_pixel, "pixels"),
    "no pixels": (lambda dataset: dataset.__delitem__("PixelData"), "pixels"),
    "lost attribute": (lambda dataset: dataset.__delitem__("Rows"), "type-1-2"),
    "emptied attribute": (_set("Modality", ""), "type-1-2"),
    "unmarked": (_set("PatientIdentityRemoved", "NO"), "not-marked"),
    "no codes": (_set("DeidentificationMethodCodeSequence", []), "not-marked"),
    "file meta": (_meta, "file-meta"),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_each_kind_of_leak_is_found_by_name_and_stops_the_study(tmp_path: Path, leak: str) -> None:
    change, code = LEAKS[leak]
    source, output = _planted(tmp_path)
    result = _check(tmp_path, source, _changed(output, change))
    assert code in _codes(result), leak
    _assert_silent(tmp_path, result)


def _assert_silent(folder: Path, result: Validated | Refused) -> None:
    """Neither reasons nor report quote an identifier of the source."""
    text = (result.model_dump_json() + (folder / "report.json").read_text()).casefold()
    assert not any(secret.casefold() in text for secret in SECRETS.all())


BYTES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "preamble": (lambda data: b"MRN7731904".ljust(128, b" ") + data[128:], "preamble"),
    "preamble with an identifier": (lambda data: b"MRN7731904".ljust(128, b" ") + data[128:], "residual-bytes"),
    "tail": (lambda data: data + b"Kelstrupova", "structure"),
    "cut": (lambda data: data[:-10], "structure"),
    "no DICOM": (lambda data: data[:140], "structure"),
    "lower-case code": (lambda data: data.replace(b"MONOCHROME2", b"monochrome2"), "value-form"),
    "UN": (lambda data: data.replace(b"\x18\x00\x01\x51CS", b"\x18\x00\x01\x51LO"), "vr"),
}


@pytest.mark.parametrize("damage", BYTES)
def test_damage_in_the_bytes_is_found(tmp_path: Path, damage: str) -> None:
    """Damage that a data set does not show is found: preamble, tail, cuts, value forms and representations."""
    change, code = BYTES[damage]
    source, output = _planted(tmp_path)
    before = output.instances[0].path.read_bytes()
    after = change(before)
    assert after != before
    result = _check(tmp_path, source, _rewritten(output, after))
    assert code in _codes(result)
    _assert_silent(tmp_path, result)


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, JPEG2000Lossless]
)
@pytest.mark.parametrize("kind", ["dx", "ct"])
def test_a_study_that_deidentify_made_is_validated(tmp_path: Path, syntax: UID, kind: str) -> None:
    """Validation finds no planted identifier in the output of de-identification, in every transfer syntax."""
    source, output = _planted(tmp_path, syntax=syntax, kind=kind)
    result = _check(tmp_path, source, output)
    assert isinstance(result, Validated), _codes(result)
    report = (tmp_path / "report.json").read_bytes()
    assert hashlib.sha256(report).hexdigest() == result.report_sha256
    assert stat.S_IMODE((tmp_path / "report.json").stat().st_mode) == 0o600
    assert b'"PatientComments": ' in report
    _assert_silent(tmp_path, result)
    for instance in output.instances:
        assert check_output(instance.path.read_bytes(), profile=PROFILE, site_id=SITE) == ()


def test_another_sites_files_and_originals_do_not_conform(tmp_path: Path) -> None:
    """Conformance alone, without source and key, tells an original or another site's file from one of ours."""
    source, output = _planted(tmp_path)
    other = check_output(output.instances[0].path.read_bytes(), profile=PROFILE, site_id=SiteId("654321"))
    assert {finding.code for finding in other} >= {"foreign-uid", "pseudonym", "private"}
    original = check_output(source.kept[0].path.read_bytes(), profile=PROFILE, site_id=SITE)
    assert {finding.code for finding in original} >= {"not-listed", "private", "not-emptied", "not-marked"}


def test_every_instance_is_accounted_for(tmp_path: Path) -> None:
    """An instance silently dropped, one doubled, a file too many: each stops the study."""
    source, output = _planted(tmp_path, kind="ct")
    dropped = output.model_copy(update={"instances": output.instances[:1]})
    assert {"account", "extra-file"} <= _codes(_check(tmp_path, source, dropped))
    doubled = output.model_copy(update={"instances": (*output.instances, output.instances[0])})
    assert "account" in _codes(_check(tmp_path, source, doubled))
    (output.instances[0].path.parent / "Kelstrupova.txt").write_text("x")
    result = _check(tmp_path, source, output)
    assert _codes(result) == {"extra-file"}
    _assert_silent(tmp_path, result)


def test_files_that_changed_after_their_stage_are_not_trusted(tmp_path: Path) -> None:
    """An output changed after it was written, or a source changed after it was received, stops the study."""
    source, output = _planted(tmp_path)
    path = output.instances[0].path
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\x01")
    assert "pixels" in _codes(_check(tmp_path, source, output))
    path.write_bytes(content + bytes(2))
    assert "file" in _codes(_check(tmp_path, source, output))
    path.write_bytes(content)
    original = source.kept[0].path.read_bytes()
    source.kept[0].path.write_bytes(original[:-1] + b"\x01")
    assert "source" in _codes(_check(tmp_path, source, output))
    source.kept[0].path.write_bytes(original)
    path.unlink()
    assert "file" in _codes(_check(tmp_path, source, output))


def test_claims_about_the_study_are_computed_again(tmp_path: Path) -> None:
    """Another patient, study UID or profile, an identifier or text in the clinical row, or a renamed file is found."""
    source, output = _planted(tmp_path)
    wrong: tuple[tuple[dict[str, object], str], ...] = (
        ({"patient": PatientPseudonym("123456-000000000000001")}, "patient-mapping"),
        ({"study_instance_uid": output.instances[0].sop_instance_uid}, "names"),
        ({"profile_digest": Sha256("0" * 64)}, "not-marked"),
        ({"clinical": {"comment": SECRETS.patient_id}}, "clinical-identifier"),
        ({"clinical": {"outcome": "she felt better"}}, "clinical-text"),
    )
    for update, code in wrong:
        assert code in _codes(_check(tmp_path, source, output.model_copy(update=update))), code
    clinical = {"covid_status": "positive", "test_date": "2015-02-03", "age": 59, "temperature": 37.5, "icu": None}
    assert isinstance(_check(tmp_path, source, output.model_copy(update={"clinical": clinical})), Validated)
    first = output.instances[0]
    renamed = first.path.rename(first.path.with_name("MRN7731904.dcm"))
    moved = output.model_copy(update={"instances": (first.model_copy(update={"path": renamed}),)})
    result = _check(tmp_path, source, moved)
    assert "names" in _codes(result)
    _assert_silent(tmp_path, result)


def test_form_errors_that_the_source_had_are_counted_and_not_held_against_us(tmp_path: Path) -> None:
    """A time with colons copied as the source had it is counted and is not a finding."""
    source = _study(tmp_path / "in", [make_dx(StudyTime="101500")])
    path = source.kept[0].path
    content = path.read_bytes().replace(b"101500", b"10:15 ")
    path.write_bytes(content)
    instance = source.kept[0].model_copy(update={"sha256": Sha256(hashlib.sha256(content).hexdigest())})
    study = source.study.model_copy(update={"instances": (instance,)})
    source = source.model_copy(update={"kept": (instance,), "study": study})
    output = deidentify(source, profile=PROFILE, pseudonyms=PSEUDONYMS, out=tmp_path / "out")
    assert isinstance(output, Deidentified)
    result = _check(tmp_path, source, output)
    assert isinstance(result, Validated), _codes(result)
    assert '"form_errors_of_the_source": 1' in (tmp_path / "report.json").read_text()
