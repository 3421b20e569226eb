"""Laws of de-identification, over data sets that hypothesis builds: every VR, depth, character set and syntax."""

import string
import tempfile
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from shared.protocol.profile import COPY_ACTIONS, Action
from shared.protocol.search_terms import search_terms
from site_node.deidentify.date_shift import shift_values
from site_node.study import Deidentified, Identity
from tests.factories.deidentified import PROFILE, PSEUDONYMS, rewritten_bytes, run_study
from tests.factories.dicom import make_dx, write_file

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what is planted on purpose
laws = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
SHIFT = PSEUDONYMS.shift_days(Identity(issuer="", patient_id="P7"))

names = st.text(string.ascii_lowercase, min_size=6, max_size=12).map(str.capitalize)
text_rules = [rule for rule in PROFILE.rules if rule.vrs & {"LO", "SH", "CS", "PN", "ST", "LT", "UT", "UC"}]
date_rules = [rule for rule in PROFILE.rules if rule.action is Action.SHIFT]
uid_rules = [rule for rule in PROFILE.rules if rule.vrs == {"UI"} and rule.action is Action.UID]
kept_sequences = [
    rule
    for rule in PROFILE.rules
    if rule.vrs == {"SQ"} and rule.action is Action.KEEP and rule.keyword != "SequenceOfUltrasoundRegions"
]
dates = st.dates(date(1990, 1, 1), date(2026, 1, 1))


def nest(dataset: Dataset, inner: Dataset, tags: list[int]) -> None:
    """Put `inner` below the sequences `tags` of `dataset`."""
    for tag in reversed(tags):
        outer = Dataset()
        outer.add_new(tag, "SQ", Items([inner]))
        inner = outer
    for element in inner:
        dataset[element.tag] = element


def new_bytes(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian, *, slow: bool = False) -> bytes:
    """The new file of one data set."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_file(dataset, Path(folder) / "one", syntax)
        identity = Identity(issuer="", patient_id=str(dataset.PatientID))
        return rewritten_bytes(path, PROFILE, identity, str(dataset.StudyInstanceUID), slow=slow)


def read(content: bytes) -> pydicom.FileDataset:
    return pydicom.dcmread(BytesIO(content))


def written_forms(name: str) -> st.SearchStrategy[str]:
    """A name as people write it into text."""
    return st.sampled_from([
        name, name.upper(), name.lower(), f"x{name}9", f"CT {name.lower()}.", f"{name[:3]} {name[3:]}",
        f"{name}_{name}",
    ])  # fmt: skip


@laws
@given(data=st.data(), name=names, syntax=st.sampled_from(SYNTAXES))
def test_no_planted_name_is_in_the_new_bytes(data: st.DataObject, name: str, syntax: UID) -> None:
    """A patient's name, planted in any text attribute or private element at any depth, is not in the output."""
    dataset = make_dx(PatientID="P7", PatientName=f"{name}^Ada", rows=8)
    inner = Dataset()
    for rule in data.draw(st.lists(st.sampled_from(text_rules), min_size=1, max_size=8, unique=True)):
        assume(rule.tag not in {0x00080005, 0x00080016, 0x00100010, 0x00100020, 0x00280004})
        inner.add_new(rule.tag, min(rule.vrs), data.draw(written_forms(name))[: 16 if rule.vrs & {"SH", "CS"} else 64])
    inner.private_block(0x0019, "VENDOR", create=True).add_new(1, "LO", name)
    nest(dataset, inner, data.draw(st.lists(st.sampled_from([rule.tag for rule in kept_sequences]), max_size=3)))
    assume(name.lower() not in texts_of(read(new_bytes(make_dx(PatientID="P7", rows=8)))).lower())  # written by us
    content = new_bytes(dataset, syntax)
    assert name.lower().encode() not in content.lower()
    glued = "".join(letter for letter in texts_of(read(content)).lower() if letter.isalnum())
    assert name.lower() not in glued


def texts_of(dataset: Dataset) -> str:
    """All text of a data set, at every depth."""
    return "\n".join(str(element.value) for element in dataset.iterall() if element.VR not in {"SQ", "OW", "OB"})


@laws
@given(data=st.data())
def test_nothing_unnamed_survives(data: st.DataObject) -> None:
    """Whatever tags are added at whatever depth, the output holds only tags of the table and our private block."""
    dataset, inner = make_dx(PatientID="P7", rows=8), Dataset()
    groups = st.integers(0x0008 // 2, 0x7FDE // 2).map(lambda half: half * 2)
    for group in data.draw(st.lists(groups, max_size=8, unique=True)):
        inner.add_new(group << 16 | data.draw(st.integers(0x1, 0xFFFF)), "OB", b"planted ")
    for group in data.draw(st.lists(st.integers(0x0009 // 2, 0x7FDF // 2), max_size=4, unique=True)):
        inner.add_new((group * 2 + 1) << 16 | data.draw(st.integers(0x10, 0xFFFF)), "LO", "planted")
    protected = {0x00080005, 0x00080016, 0x00080018, 0x0020000D, 0x0020000E, 0x00100020}
    for tag in list(inner.keys()):
        if int(tag) in protected or 0x00280000 <= int(tag) < 0x00290000 or int(tag) in {0x00080008, 0x00101010}:
            del inner[tag]
    nest(dataset, inner, data.draw(st.lists(st.sampled_from([0x00082218, 0x00540220, 0x52009229]), max_size=3)))
    listed = {rule.tag for rule in PROFILE.rules if rule.action != Action.REMOVE}
    output = {int(element.tag) for element in read(new_bytes(dataset)).iterall()}
    assert output <= listed | {0x00130010, 0x00131001, 0x00131003}


@laws
@given(data=st.data(), first=dates, second=dates)
def test_intervals_survive(data: st.DataObject, first: date, second: date) -> None:
    """The days between any two dates of a patient are the same after as before; times of day are the same."""
    rules = data.draw(st.lists(st.sampled_from(date_rules), min_size=2, max_size=2, unique_by=lambda rule: rule.tag))
    dataset, inner = make_dx(PatientID="P7", PatientAge="", rows=8), Dataset()
    for rule, day in zip(rules, (first, second), strict=True):
        inner.add_new(rule.tag, min(rule.vrs), f"{day:%Y%m%d}" + ("101112.5" if rule.vrs == {"DT"} else ""))
    nest(dataset, inner, data.draw(st.lists(st.just(0x00082218), max_size=2)))
    values = {int(element.tag): str(element.value) for element in read(new_bytes(dataset)).iterall()}
    texts = [values[rule.tag] for rule in rules]
    days = [date(int(text[:4]), int(text[4:6]), int(text[6:8])) for text in texts]
    assert days[1] - days[0] == second - first
    assert days[0] == first - timedelta(days=SHIFT)
    assert all(text[8:] == "101112.5" for rule, text in zip(rules, texts, strict=True) if rule.vrs == {"DT"})


@given(text=st.text("0123456789-.+\\ ", max_size=40), days=st.integers(1, 3652))
def test_no_date_comes_out_as_it_went_in(text: str, days: int) -> None:
    """Whatever a date field holds, no eight digits that are a date survive unshifted in their place."""
    new = shift_values(text, days, complete=False)
    assert new is not None
    assert not new or new.strip() != text.strip()


@laws
@given(data=st.data(), uid=st.from_regex(r"[12]\.(0|[1-9][0-9]{0,3})(\.(0|[1-9][0-9]{0,6})){1,6}", fullmatch=True))
def test_references_resolve(data: st.DataObject, uid: str) -> None:
    """A UID maps to the same new UID wherever it occurs: attribute, depth, file, run."""
    assume(not uid.startswith("1.2.840.10008"))
    dataset, inner = make_dx(PatientID="P7", rows=8), Dataset()
    rules = data.draw(st.lists(st.sampled_from(uid_rules), min_size=1, max_size=4, unique_by=lambda rule: rule.tag))
    rules = [rule for rule in rules if rule.tag not in {0x00080018, 0x0020000D, 0x0020000E}]
    for rule in rules:
        inner.add_new(rule.tag, "UI", uid)
    nest(dataset, inner, data.draw(st.lists(st.sampled_from([0x00081140, 0x00082112, 0x00081115]), max_size=3)))
    values = {int(element.tag): element.value for element in read(new_bytes(dataset)).iterall()}
    assert all(values[rule.tag] == PSEUDONYMS.uid(uid) for rule in rules)


@laws
@given(data=st.data(), syntax=st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian]))
def test_both_readers_agree(data: st.DataObject, syntax: UID) -> None:
    """The fast walk and pydicom give the same file."""
    dataset, inner = make_dx(PatientID="P7", rows=8), Dataset()
    for rule in data.draw(st.lists(st.sampled_from(PROFILE.rules), max_size=20, unique_by=lambda rule: rule.tag)):
        value = sample_value(min(rule.vrs))
        if value is not None and rule.tag >> 16 not in {0x7FE0, 0x6000} and rule.tag not in dataset:
            inner.add_new(rule.tag, min(rule.vrs), value)
    inner.pop("NumberOfFrames", None)  # the film has the pixels of one
    nest(dataset, inner, data.draw(st.lists(st.sampled_from([rule.tag for rule in kept_sequences]), max_size=3)))
    assume(0x00186011 not in dataset)
    assert new_bytes(dataset, syntax) == new_bytes(dataset, syntax, slow=True)


def sample_value(vr: str) -> Any:
    """A value of each representation."""
    if vr in {"US", "SS", "UL", "SL", "UV", "SV"}:
        return 1
    if vr in {"FL", "FD"}:
        return 1.5
    return {
        "DA": "20210302", "DT": "20210302101112", "TM": "101112", "AS": "045Y", "DS": "1.5", "IS": "3", "UI": "1.2.3.4",
        "AT": 0x00100010, "OB": b"\1\2", "OW": b"\1\2", "OF": b"\0" * 4, "OD": b"\0" * 8, "OV": b"\0" * 8,
        "UN": b"ab", "SQ": Items([Dataset()]), "PN": "Doe^Ann", "CS": "CHEST", "SH": "CHEST", "LO": "PA LATERAL",
    }.get(vr)  # fmt: skip


@laws
@given(pixels=st.binary(min_size=128, max_size=128), syntax=st.sampled_from(SYNTAXES[:2]))
def test_untouched_pixels_are_equal_to_the_byte(pixels: bytes, syntax: UID) -> None:
    """Pixel data that nobody blanks do not change, whatever their bytes."""
    dataset = make_dx(PatientID="P7", rows=8)
    dataset.PixelData = pixels
    assert new_bytes(dataset, syntax).endswith(pixels)


@settings(laws, max_examples=15)
@given(name=names, description=st.text(string.ascii_letters + string.digits + " .-_/", max_size=40))
def test_twice_is_once(name: str, description: str) -> None:
    """The same study gives the same bytes again, and cleaning a cleaned text changes nothing."""
    dataset = make_dx(PatientID="P7", PatientName=name, SeriesDescription=f"{description} {name}", rows=8)
    content = new_bytes(dataset)
    assert content == new_bytes(dataset)
    once = read(content)
    again = make_dx(PatientID="P7", PatientName=name, rows=8, SeriesDescription=str(once.get("SeriesDescription", "")))
    assert read(new_bytes(again)).get("SeriesDescription") == once.get("SeriesDescription")


def test_every_rule_of_the_table_is_obeyed(tmp_path: Path) -> None:
    """Each attribute of the profile, planted alone, is removed, emptied or copied as its rule says."""
    for number, rule in enumerate(PROFILE.rules[::7]):
        dataset = make_dx(PatientID="P7", rows=8)
        value = sample_value(min(rule.vrs))
        # These stop a film, or belong to other pictures.
        skipped = {0x00186011, 0x00280008} | search_terms().tags.palettes
        if value is None or rule.tag in dataset or rule.tag >> 16 == 0x7FE0 or rule.tag in skipped:
            continue
        dataset.add_new(rule.tag, min(rule.vrs), value)
        result = run_study(tmp_path / str(number), [dataset])
        assert isinstance(result, Deidentified), rule.keyword
        output = pydicom.dcmread(result.instances[0].path)
        if rule.action is Action.REMOVE:
            assert rule.tag not in output, rule.keyword
        elif rule.action is Action.EMPTY:
            assert not output[rule.tag].value, rule.keyword
        elif rule.action in COPY_ACTIONS and rule.vrs & {"CS", "LO", "SH", "DS", "IS", "US", "FD"}:
            assert output[rule.tag].value == dataset[rule.tag].value, rule.keyword
