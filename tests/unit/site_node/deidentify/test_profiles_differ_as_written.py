"""What the three profiles do differently, each through the stage and through validation."""

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from shared.crypto.keys import make_secret
from shared.ids import SiteId
from shared.protocol.loader import load_profile, profile_names
from site_node.deidentify.actions import Condition, ElementActions
from site_node.deidentify.identifiers import find_identifiers
from site_node.deidentify.study import deidentify
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.standalone.alone import EngineChoice, run_standalone
from site_node.standalone.job import Job
from site_node.study import Identity, Refused, Validated
from site_node.validate.validation import validate
from tests.factories.dicom import make_ct, make_dx, plant_identifiers, write_file
from tests.factories.studies import make_included, make_received

PSEUDONYMS = Pseudonyms(bytes(range(32)), SiteId("654321"))
SIEMENS, GE = "SIEMENS MR HEADER", "GEMS_ACQU_01"
KEPT = {0x0019100C: "1000", 0x0019100D: "DIRECTIONAL", 0x0019100E: [0.5, 0.25, 1.0]}


@dataclass(frozen=True)
class NewFile:
    """A file's new content and the findings of validation."""

    raw: bytes
    dataset: pydicom.FileDataset
    findings: tuple[str, ...]


def run_profile(
    folder: Path, dataset: Dataset, profile: str, syntax: pydicom.uid.UID = ExplicitVRLittleEndian
) -> NewFile:
    study = make_included(make_received(folder / "spool", [dataset], syntax))
    rules = load_profile(profile)
    done = deidentify(study, profile=rules, pseudonyms=PSEUDONYMS, out=folder / "out")
    assert not isinstance(done, Refused), done.reasons
    validated = validate(study, done, profile=rules, pseudonyms=PSEUDONYMS, report=folder / "report.json")
    path = done.instances[0].path
    findings = () if isinstance(validated, Validated) else tuple(reason.code for reason in validated.reasons)
    return NewFile(path.read_bytes(), pydicom.dcmread(path), findings)


def private(dataset: Dataset, block: int = 0x10, creator: str = SIEMENS) -> Dataset:
    """Diffusion data, and beside them what the list does not name."""
    dataset.add_new(0x00190000 | block, "LO", creator)
    dataset.add_new(0x0019000C | block << 8, "IS", "1000")
    dataset.add_new(0x0019000D | block << 8, "CS", "DIRECTIONAL")
    dataset.add_new(0x0019000E | block << 8, "FD", [0.5, 0.25, 1.0])
    dataset.add_new(0x00190008 | block << 8, "CS", "DOEJANE")
    return dataset


def codes(dataset: Dataset) -> set[str]:
    return {str(item.CodeValue) for item in dataset.DeidentificationMethodCodeSequence}


@pytest.mark.parametrize("profile", profile_names())
@pytest.mark.parametrize("kind", ["dx", "ct"])
def test_every_profile_leaves_nothing_planted_and_validates(profile: str, kind: str, tmp_path: Path) -> None:
    """No planted identifier in any byte, and validation finds nothing."""
    dataset = make_dx() if kind == "dx" else make_ct(slices=1)[0]
    planted = plant_identifiers(dataset)
    new = run_profile(tmp_path, dataset, profile)
    assert new.findings == ()
    assert [value for value in planted if value.encode() in new.raw] == []


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("block", [0x10, 0x42])
def test_listed_private_elements_stay_in_tcia_only(block: int, syntax: pydicom.uid.UID, tmp_path: Path) -> None:
    """By creator, whatever block it reserved, and 113111 is claimed; the others keep and claim nothing."""
    for profile in profile_names():
        new = run_profile(tmp_path / profile, private(make_dx(), block), profile, syntax)
        kept_tags = {int(element.tag) for element in new.dataset if element.tag.group == 0x19}
        listed_tags = {0x00190000 | block} | {tag & 0xFFFF00FF | block << 8 for tag in KEPT}
        assert kept_tags == (listed_tags if profile == "tcia" else set())
        assert ("113111" in codes(new.dataset)) == (profile == "tcia")
        assert b"DOEJANE" not in new.raw
        assert new.findings == ()


@pytest.mark.parametrize("creator", ["", "SIEMENS CSA HEADER", "SIEMENS MR HEADER 2", "siemens mr header", "DOE^JANE"])
def test_another_creators_elements_go(creator: str, tmp_path: Path) -> None:
    """The tags are the listed ones, but the creator of the block is not: all of it goes, the creator too."""
    new = run_profile(tmp_path, private(make_dx(), creator=creator), "tcia")
    assert [element for element in new.dataset if element.tag.group == 0x19] == []
    assert "113111" not in codes(new.dataset)
    assert new.findings == ()


def test_an_orphan_or_misplaced_private_element_goes(tmp_path: Path) -> None:
    """Without a creator, or in a block that another creator reserved."""
    dataset = make_dx()
    dataset.add_new(0x00190011, "LO", SIEMENS)
    dataset.add_new(0x0019100C, "IS", "1000")  # block 10 is nobody's
    dataset.add_new(0x00210010, "LO", SIEMENS)  # not this creator's group
    dataset.add_new(0x0021100C, "IS", "1000")
    new = run_profile(tmp_path, dataset, "tcia")
    assert {int(element.tag) for element in new.dataset if element.tag.group in {0x19, 0x21}} <= {0x00190011}
    assert "113111" not in codes(new.dataset)
    assert new.findings == ()


def test_an_items_private_elements_mean_what_the_items_creators_say(tmp_path: Path) -> None:
    """The top level's creator says nothing about an item's block, nor the other way round."""
    dataset = private(make_dx())
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3.4.5"
    other = Dataset()
    other.update(item)
    item.add_new(0x0019100C, "IS", "7000")
    private(other, 0x20)
    dataset.ReferencedImageSequence = Sequence([item, other])
    new = run_profile(tmp_path, dataset, "tcia")
    first, second = new.dataset.ReferencedImageSequence
    assert 0x0019100C not in first
    assert second[0x0019200C].value == 1000
    assert 0x00192008 not in second
    assert new.findings == ()


@pytest.mark.parametrize(("vr", "value"), [("UN", b"1000"), ("LO", "1000"), ("OB", b"DOE^JANE"), ("PN", "DOE^JANE")])
def test_a_listed_element_of_another_form_goes(vr: str, value: object, tmp_path: Path) -> None:
    """UN is read as what the list says; any other value representation contradicts it."""
    dataset = make_dx()
    dataset.add_new(0x00190010, "LO", SIEMENS)
    dataset.add_new(0x0019100C, vr, value)
    new = run_profile(tmp_path, dataset, "tcia")
    assert (0x0019100C in new.dataset) == (vr == "UN")
    assert new.findings == ()


def test_an_identifier_in_a_listed_text_is_emptied(tmp_path: Path) -> None:
    """Of LO and SH of the list public words stay, as of any kept text; a number that is the patient's is emptied."""
    dataset = make_dx(PatientName="Quimby^Zelda", PatientID="77889900")
    dataset.add_new(0x00190010, "LO", GE)
    dataset.add_new(0x0019109E, "LO", "fse QUIMBY zelda")
    dataset.add_new(0x00191023, "DS", "77889900")
    new = run_profile(tmp_path, dataset, "tcia")
    assert new.dataset[0x0019109E].value == "fse"
    assert new.dataset[0x00191023].value is None
    assert new.findings == ()


def test_the_claim_and_the_private_elements_must_fit(tmp_path: Path) -> None:
    """Validation finds 113111 without a private element, and an element that the profile does not list."""
    dataset = private(make_dx())
    study = make_included(make_received(tmp_path / "spool", [dataset]))
    done = deidentify(study, profile=load_profile("tcia"), pseudonyms=PSEUDONYMS, out=tmp_path / "out")
    assert not isinstance(done, Refused)
    validated = validate(
        study,
        done.model_copy(update={"profile_digest": load_profile().digest}),
        profile=load_profile(),
        pseudonyms=PSEUDONYMS,
        report=tmp_path / "report.json",
    )
    assert isinstance(validated, Refused)
    assert {"validate-private", "validate-not-marked"} <= {reason.code for reason in validated.reasons}


@pytest.mark.parametrize(
    ("birth", "study", "stays"),
    [
        ("19500615", "20200615", True),
        ("19310618", "20210615", True),  # 89 for three more days
        ("19310615", "20210615", False),  # 90 today
        ("19000101", "20200615", False),
        ("19500615", "", False),  # there is no age
    ],
)
def test_the_letter_of_2020_shifts_a_birth_date_up_to_89(birth: str, study: str, stays: bool, tmp_path: Path) -> None:
    """Birth and study date go back by the same number of days, unless they would tell an age over 89."""
    new = run_profile(tmp_path, make_dx(PatientBirthDate=birth, StudyDate=study, PatientAge=""), "ricord-2020")
    days = PSEUDONYMS.shift_days(Identity(issuer="", patient_id=str(make_dx().PatientID)))
    assert new.findings == ()
    assert bool(new.dataset.PatientBirthDate) == stays
    if stays:
        moved = [pydicom.valuerep.DA(text) for text in (birth, new.dataset.PatientBirthDate)]
        assert [(first - last).days for first, last in [moved] if first and last] == [days]


def born(birth: str, study: str, days: int) -> bytes | None:
    """The new birth date in the profile of 2020, of a study whose dates go back by so many days."""
    context: Any = SimpleNamespace(identifiers=find_identifiers([], []), shift_days=days)
    condition = Condition(context, "DX", True, (), study, b"", frozenset(), ())
    return ElementActions(condition).new_value(load_profile("ricord-2020").by_tag[0x00100030], "DA", birth.encode())


def test_a_shift_over_a_leap_day_tells_no_age_over_89() -> None:
    """Dates that go back by the same days may tell another age by a year: neither may be over 89."""
    near = [*((2, day) for day in range(26, 30)), *((3, day) for day in range(1, 4))]
    ages = set[tuple[int, int]]()
    for days, at, on, years in product((1, 2, 3, 366, 730, 1461), near, near, (89, 90)):
        birth, study = date(2024 - years, 2, 26), date(2024, *on)
        birth = birth + timedelta(days=near.index(at))
        both = tuple(
            last.year - first.year - ((last.month, last.day) < (first.month, first.day))
            for first, last in ((birth, study), (birth - timedelta(days=days), study - timedelta(days=days)))
        )
        new = born(f"{birth:%Y%m%d}", f"{study:%Y%m%d}", days)
        ages.add((both[0], both[1]))
        assert new == (b"" if max(both) > 89 else f"{birth - timedelta(days=days):%Y%m%d}".encode())
    assert {(89, 90), (90, 89)} <= ages


@pytest.mark.parametrize("profile", profile_names())
@pytest.mark.parametrize(("age", "kept"), [("045Y", "045Y"), ("089Y", "089Y"), ("090Y", "090Y"), ("104Y", "090Y")])
def test_ages_over_89_are_one_group_in_every_profile(profile: str, age: str, kept: str, tmp_path: Path) -> None:
    """45 CFR 164.514(b)(2)(i)(C)."""
    new = run_profile(tmp_path, make_dx(PatientAge=age, PatientBirthDate=""), profile)
    assert (new.dataset.PatientAge, new.findings) == (kept, ())


@pytest.mark.parametrize("profile", profile_names())
def test_minors_are_excluded_and_missing_ids_wait_in_every_profile(profile: str, tmp_path: Path) -> None:
    """Under 18 by age or by birth date, and no PatientID, whatever the profile; adults go on beside them."""
    films = {
        "adult": make_dx(PatientAge="018Y", PatientBirthDate=""),
        "minor-age": make_dx(PatientAge="017Y", PatientBirthDate="", PatientID="B"),
        "minor-months": make_dx(PatientAge="018M", PatientBirthDate="", PatientID="C"),
        "minor-birth": make_dx(PatientAge="", PatientBirthDate="20100101", StudyDate="20200615", PatientID="D"),
        "nobody": make_dx(PatientID=""),
    }
    for number, (name, film) in enumerate(films.items()):
        film.StudyInstanceUID, film.SeriesInstanceUID = f"1.2.3.{number}", f"1.2.3.{number}.1"
        film.SOPInstanceUID = f"1.2.3.{number}.1.1"
        write_file(film, tmp_path / "in" / f"{name}.dcm")
    make_secret(tmp_path / "key")
    job = Job(
        site_id=SiteId("654321"),
        key_file=tmp_path / "key",
        profile=profile,
        out=tmp_path / "out",
        pixel_check=False,
    )
    report = run_standalone(tmp_path / "in", job, EngineChoice(), None)
    files = zip(report.names, report.outcomes, strict=True)
    assert {name.removesuffix(".dcm"): str(file.outcome) for name, file in files} == {
        "adult": "deidentified",
        "minor-age": "excluded",
        "minor-months": "excluded",
        "minor-birth": "excluded",
        "nobody": "quarantined",
    }


def test_device_data_stay_in_tcia_and_the_institution_does_not(tmp_path: Path) -> None:
    """Station and serial number are kept there and emptied elsewhere; one that names the institution is emptied."""
    film = make_dx(InstitutionName="Marienhospital", StationName="DXROOM4", DeviceSerialNumber="SN-778812")
    for profile in profile_names():
        new = run_profile(tmp_path / profile, film, profile)
        device = (new.dataset.StationName, new.dataset.DeviceSerialNumber)
        assert device == (("DXROOM4", "SN-778812") if profile == "tcia" else ("", ""))
        assert (new.dataset.InstitutionName, new.findings) == ("", ())
    telling = run_profile(
        tmp_path / "telling", make_dx(InstitutionName="Marienhospital", StationName="MARIENHOSPITAL1"), "tcia"
    )
    assert (telling.dataset.StationName, telling.findings) == ("", ())


def test_the_letter_of_2020_writes_no_private_block_and_its_own_method(tmp_path: Path) -> None:
    """No private element at all, the method's text of 2020, and the four codes that it claims."""
    new = run_profile(tmp_path, make_dx(), "ricord-2020")
    assert [element for element in new.dataset if element.tag.is_private] == []
    assert new.dataset.DeidentificationMethod == "RSNA Covid-19 Dataset Default"
    assert codes(new.dataset) == {"113100", "113107", "113108", "113109"}


@pytest.mark.parametrize("vr", ["OB", "LO"])
def test_a_text_of_another_kind_than_the_standards_is_no_text(vr: str, tmp_path: Path) -> None:
    """AcquisitionComments, which TCIA keeps cleaned, are empty where the file calls them bytes or one line."""
    film = make_dx()
    film.add_new(0x00184000, vr, b"CHEST " if vr == "OB" else "CHEST")
    new = run_profile(tmp_path, film, "tcia")
    assert (new.dataset.get("AcquisitionComments", ""), new.findings) == ("", ())


@pytest.mark.parametrize("profile", profile_names())
def test_a_file_claims_what_was_done_to_it(profile: str, tmp_path: Path) -> None:
    """That descriptions were cleaned, where the profile has a code for that (PS3.16 CID 7050)."""
    claims = load_profile(profile).claims
    new = run_profile(tmp_path, make_dx(SeriesDescription="CHEST PA"), profile)
    assert new.findings == ()
    assert codes(new.dataset) == {*claims.always, claims.cleaned} - {""}
