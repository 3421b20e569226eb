"""Words leave by list: an identifying word that no header names stays in the hospital, harmless words do not."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import pydicom
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from shared.protocol.loader import load_profile, profile_names
from shared.protocol.profile import Action, Profile, Rule
from site_node.study import Identity
from tests.factories.deidentified import rewritten_bytes
from tests.factories.dicom import make_dx, write_file
from tests.factories.planted import KINDS, is_left, words_of

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),  # pydicom warns of long values
]
# The smallest example would say no more: the failing attributes are listed.
laws = settings(max_examples=10, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))

LONG, SHORT, CODED = frozenset({"LO", "LT", "ST", "UC", "UT"}), "SH", "CS"
CHARACTER_SET = 0x00080005
FACTS = frozenset({0x00080008, 0x00280004})  # what a film is and how it is read: at its top level they stop it
# A device's own numbers, which `tcia` keeps as it declares; names must go from them too.
NUMBERED = frozenset({
    "CassetteID", "DetectorID", "DeviceID", "DeviceSerialNumber", "GantryID", "GeneratorID", "GridID", "PlateID",
    "StationName",
})  # fmt: skip
# A code that nobody knows goes with its item.
CODES = frozenset({"CodeMeaning", "CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion"})
WRITINGS = ("{}", "{}", "{} CHEST", "CHEST_{}", "CHEST{}")


def text_rules(profile: Profile) -> list[Rule]:
    """The rules of every kept text attribute, private ones in blocks of their own."""
    kept = (Action.KEEP, Action.CLEAN)
    rules = [rule for rule in profile.rules if rule.action in kept and rule.tag != CHARACTER_SET]
    return [rule for rule in rules if rule.vrs & (LONG | {SHORT, CODED})]


def value_of(vr: str, written: str) -> str | None:
    """A word among harmless ones, as long as the representation allows; None if it cannot hold the word."""
    if vr in LONG:
        return f"AXIAL {written} LUNG"
    text = f"CT {written}" if vr == SHORT else written.upper()
    allowed = r".{1,16}" if vr == SHORT else r"[A-Z0-9 _]{1,16}"
    return text if re.fullmatch(allowed, text) else None


def plant(profile: Profile, target: Dataset, written: str, *, numeric: bool, top: bool) -> dict[int, str]:
    """Write a word into every kept text attribute, into those of a code in an item of their own.

    Returns:
        The names of the attributes that hold the word, by tag, without those of the code.
    """
    planted, code = dict[int, str](), Dataset()
    target.AnatomicRegionSequence = Items([code])
    for rule in text_rules(profile):
        value = value_of(min(rule.vrs), written)
        if value and rule.keyword in CODES:
            code.add_new(rule.tag, min(rule.vrs), value)
        elif value and not (numeric and rule.keyword in NUMBERED) and not (top and rule.tag in FACTS):
            target.add_new(rule.tag, min(rule.vrs), value)
            planted[rule.tag] = rule.keyword
    for safe in profile.safe:
        value = value_of(safe.vr, written) if safe.vr in LONG | {SHORT, CODED} else None
        if value:
            block = target.private_block(safe.group, safe.creator, create=True)
            block.add_new(safe.element, safe.vr, value)
            planted[int(block.get_tag(safe.element))] = safe.name
    return planted


def new_dataset(dataset: Dataset, profile: Profile, syntax: UID) -> tuple[bytes, Dataset]:
    """The new file of a data set, as bytes and as pydicom reads it."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_file(dataset, Path(folder) / "one", syntax)
        identity = Identity(issuer="", patient_id=str(dataset.PatientID))
        content = rewritten_bytes(path, profile, identity, str(dataset.StudyInstanceUID))
        path.write_bytes(content)
        return content, pydicom.dcmread(path)


@pytest.mark.parametrize("kind", KINDS)
@laws
@given(
    name=st.sampled_from(sorted(profile_names())),
    random=st.randoms(use_true_random=False),
    writing=st.sampled_from(WRITINGS),
    case=st.sampled_from([str, str.upper, str.lower]),
    depth=st.integers(0, 2),
    syntax=st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian]),
)
def test_a_word_that_nobody_knows_stays_in_the_hospital(
    *, kind: str, name: str, random: Random, writing: str, case: Callable[[str], str], depth: int, syntax: UID
) -> None:
    """No kept text attribute, nested or private, lets a planted word out; public words around it stay."""
    profile, word = load_profile(name), case(KINDS[kind](random))
    dataset = make_dx(PatientID="P7", PatientName="Zquimbalot^Ada", SpecificCharacterSet="ISO_IR 192", rows=8)
    target = dataset
    for _ in range(depth):
        item = Dataset()
        target.SharedFunctionalGroupsSequence = Items([item])
        target = item
    numeric = kind in {"number", "phone", "date"}
    planted = plant(profile, target, writing.format(word), numeric=numeric, top=not depth)
    content, new = new_dataset(dataset, profile, syntax)
    for _ in range(depth):
        new = new.SharedFunctionalGroupsSequence[0]
    texts = {tag: str(new[tag].value) if tag in new else "" for tag in planted}
    assert [planted[tag] for tag, text in texts.items() if is_left(word, text)] == []
    assert word.isdigit() or word.casefold() not in content.decode("utf-8", "replace").casefold()  # UIDs hold digits
    public = [tag for tag in planted if str(target[tag].value).startswith("AXIAL")]
    assert [planted[tag] for tag in public if not {"axial", "lung"} <= set(words_of(texts[tag]))] == []
