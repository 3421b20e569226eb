"""Laws of every profile, over data sets that hypothesis builds: nothing leaks, and validation agrees."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from shared.ids import SiteId
from shared.protocol.loader import load_profile, profile_names
from shared.protocol.profile import Profile
from site_node.deidentify.actions import make_study_context
from site_node.deidentify.study import deidentify, rewritten
from site_node.dicom.elements import Span
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Deidentified, Identity, Validated
from site_node.validate.validation import validate
from tests.factories.dicom import make_dx, write_file
from tests.factories.studies import make_included, make_received

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what is planted on purpose
laws = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PSEUDONYMS = Pseudonyms(bytes(range(32)), SiteId("654321"))
PROFILES = {name: load_profile(name) for name in profile_names()}
TCIA = PROFILES["tcia"]
NAME = "Zquimbalot"
SYNTAXES = st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian])
PLACES = st.sampled_from([None, 0x00081140, 0x00082112])  # the top level, or an item
HARMLESS = {"CS": "OBLIQUE", "SH": "1.375:1", "LO": "fse", "DS": "1.5", "IS": "700", "FD": 0.5, "FL": 0.5}
NAMING_VALUES = {
    "CS": NAME.upper(),
    "SH": NAME,
    "LO": f"seen by {NAME}",
    "DS": NAME,
    "IS": NAME,
    "PN": NAME,
    "UN": NAME.encode(),
}
blocks = st.tuples(st.sampled_from(TCIA.safe), st.integers(0x10, 0xFF), st.sampled_from(["own", "other", "none"]))


def film() -> Dataset:
    return make_dx(PatientID="P7", PatientName=f"{NAME}^Ada", rows=8)


def place(dataset: Dataset, tag: int | None) -> Dataset:
    """Where elements go: the data set itself, or a new item of one of its sequences."""
    if tag is None:
        return dataset
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3.4.5"
    dataset.add_new(tag, "SQ", Items([item]))
    return item


def plant(data: st.DataObject, target: Dataset) -> None:
    """Private elements of listed and other creators, harmless and with the name, in any block."""
    for safe, block, creator in data.draw(st.lists(blocks, min_size=1, max_size=5)):
        named = {"own": safe.creator, "other": f"{safe.creator} {NAME}"[-64:], "none": ""}[creator]
        if named:
            target.add_new(safe.group << 16 | block, "LO", named)
        tag = safe.group << 16 | block << 8 | data.draw(st.sampled_from([safe.element, 0xEE]))
        vr = data.draw(st.sampled_from([safe.vr, "UN", "PN", "LO"]))
        naming = NAMING_VALUES.get(vr)
        value = naming if naming is not None and data.draw(st.booleans()) else HARMLESS.get(vr)
        if value is not None:
            with_text = vr in {"DS", "IS"} and value == NAME
            assume(not with_text)  # pydicom does not write it
            target.add_new(tag, vr, value)


def new_bytes(dataset: Dataset, profile: Profile, syntax: UID, *, slow: bool) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = write_file(dataset, Path(folder) / "one", syntax)
        subject = make_study_context(profile, PSEUDONYMS, Identity(issuer="", patient_id="P7"))
        new = rewritten(path, subject, str(dataset.StudyInstanceUID), slow=slow)
        pixels = new.pixels
        if isinstance(pixels, Span):
            pixels = path.read_bytes()[pixels.offset : pixels.offset + pixels.length]
        return new.before + pixels + new.after


def findings(dataset: Dataset, profile: Profile, syntax: UID) -> list[str]:
    """The findings of validation on the output of de-identification."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = make_included(make_received(folder / "spool", [dataset], syntax))
        output = deidentify(study, profile=profile, pseudonyms=PSEUDONYMS, out=folder / "out")
        assert isinstance(output, Deidentified), output.reasons
        result = validate(study, output, profile=profile, pseudonyms=PSEUDONYMS, report=folder / "report.json")
        reasons = () if isinstance(result, Validated) else result.reasons
        return [f"{reason.code} {reason.attribute}" for reason in reasons]


@laws
@given(data=st.data(), syntax=SYNTAXES, where=PLACES)
def test_private_elements_leak_nothing_and_both_readers_agree(
    data: st.DataObject, syntax: UID, where: int | None
) -> None:
    """Whatever private blocks hold, no output byte holds the name, readers agree, validation finds nothing."""
    dataset = film()
    plant(data, place(dataset, where))
    for profile in PROFILES.values():
        content = new_bytes(dataset, profile, syntax, slow=False)
        assert content == new_bytes(dataset, profile, syntax, slow=True)
        assert NAME.lower().encode() not in content.lower()
        assert findings(dataset, profile, syntax) == []


def test_a_code_in_small_letters_in_a_private_element_does_not_refuse_its_study() -> None:
    """A harmless form error of the source stays one, in listed private elements as in the Standard's own."""
    dataset = film()
    dataset.add_new(0x20010010, "LO", "Philips Imaging DD 001")
    dataset.add_new(0x2001100B, "LO", "fse")  # SliceOrientation has VR CS; an implicit file does not say which it has
    for profile in PROFILES.values():
        assert findings(dataset, profile, ImplicitVRLittleEndian) == []


@laws
@given(data=st.data(), name=st.sampled_from(["ricord-2020", "tcia"]), syntax=SYNTAXES)
def test_a_name_in_any_text_is_gone_under_every_profile(data: st.DataObject, name: str, syntax: UID) -> None:
    """A name planted in any text attribute, glued or re-cased, is not in the output; validation agrees."""
    profile, dataset = PROFILES[name], film()
    texts = [rule for rule in profile.rules if rule.vrs & {"LO", "SH", "CS", "PN", "ST", "LT", "UT", "UC"}]
    spared = {
        0x00080005,
        0x00080008,
        0x00080016,
        0x00080060,
        0x00080064,
        0x00100010,
        0x00100020,
        0x00280004,
        0x00280301,
    }
    for rule in data.draw(st.lists(st.sampled_from(texts), min_size=1, max_size=8, unique=True)):
        if rule.tag not in spared and rule.tag not in dataset:
            text = data.draw(
                st.sampled_from([NAME, NAME.upper(), f"x{NAME}9", f"CT {NAME.lower()}.", f"{NAME}_{NAME}"])
            )
            dataset.add_new(rule.tag, min(rule.vrs), text[: 16 if rule.vrs & {"SH", "CS"} else 64])
    assert NAME.lower().encode() not in new_bytes(dataset, profile, syntax, slow=False).lower()
    assert findings(dataset, profile, syntax) == []


@laws
@given(data=st.data(), name=st.sampled_from(["ricord-2020", "tcia"]))
def test_twice_is_once_under_every_profile(data: st.DataObject, name: str) -> None:
    """The same input gives the same bytes, whatever was processed before."""
    dataset = film()
    plant(data, dataset)
    once, again = (new_bytes(dataset, PROFILES[name], ExplicitVRLittleEndian, slow=False) for _ in range(2))
    assert once == again
