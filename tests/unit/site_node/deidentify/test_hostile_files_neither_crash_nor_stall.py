"""Hostile files do not crash the stage, stop it for hours, or pass under another file's verdict."""

from pathlib import Path
from time import monotonic

import pytest
from pydicom.dataset import Dataset

from shared.protocol.loader import load_profile
from site_node.deidentify.identifiers import IdentifyingValue, find_identifiers
from site_node.deidentify.text import TextRule
from site_node.study import Deidentified
from tests.factories.deidentified import file_of, run_bytes, run_one, run_study
from tests.factories.dicom import make_dx, write_file

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what is planted on purpose


def _overlay(number: int, tag: int) -> Dataset:
    dataset = make_dx(SOPInstanceUID=f"1.2.3.4.5.6.7.{number}", StudyInstanceUID="1.2.3.4", SeriesInstanceUID="1.2.3.5")
    dataset.add_new(tag, "US", 1)
    return dataset


def test_a_verdict_holds_for_its_own_file_only(tmp_path: Path) -> None:
    """OverlayBitsAllocated 1 may go on, OverlayBitPosition 1 may not, though their values are the same bytes."""
    allowed, hidden = _overlay(1, 0x60000100), _overlay(2, 0x60000102)
    result = run_study(tmp_path, [allowed, hidden])
    assert isinstance(result, Deidentified)
    assert [str(instance.source.sop_instance_uid) for instance in result.instances] == ["1.2.3.4.5.6.7.1"]
    assert [entry.reasons[0].code for entry in result.left_out] == ["overlay-in-pixels"]


def test_a_value_that_outgrows_its_header_is_refused(tmp_path: Path) -> None:
    """New UIDs are longer than old ones: 2,000 of them do not fit into a UI element, which is not a crash."""
    outcome = run_one(tmp_path, make_dx(FrameOfReferenceUID=["1.2"] * 2_000))
    assert outcome.code == "malformed-value"


def test_a_long_description_is_emptied_at_once(tmp_path: Path) -> None:
    """No description of 90 KB is cleaned letter by letter, nor does one of unknown representation crash."""
    dataset = make_dx(SeriesDescription="here")
    content = write_file(dataset, tmp_path / "one").read_bytes()
    place = content.index(b"\x08\0\x3e\x10LO\x04\0here")
    long = b"\x08\0\x3e\x10UN\0\0" + (90_000).to_bytes(4, "little") + b"x" * 90_000
    outcome = run_bytes(tmp_path, dataset, content[:place] + long + content[place + 12 :])
    assert b"xxxx" not in outcome.raw
    assert outcome.dataset.get("SeriesDescription") in {None, ""}


def test_a_place_of_many_words_is_searched_in_time() -> None:
    """Two thousand words make two thousand forms, not four million."""
    words = tuple(f"{number:x}q".encode() for number in range(2_000))
    identifiers = find_identifiers([IdentifyingValue(0x00080080, ("iso8859",), b" ".join(words))], ())
    assert len(identifiers.names | identifiers.numbers) < 2 * len(words)


def test_a_name_of_many_letters_has_few_forms() -> None:
    """A name of 60,000 letters is not cut short at each of them."""
    identifiers = find_identifiers([IdentifyingValue(0x00100010, ("iso8859",), b"A" * 60_000)], ())
    assert len(identifiers.names) < 100


def test_the_rule_on_texts_does_not_look_back_over_all_letters(tmp_path: Path) -> None:
    """Texts of 60,000 letters of any kind take no time, and an address still goes."""
    long = "A" * 60_000
    begun = monotonic()
    outcome = run_one(tmp_path, make_dx(SeriesDescription="PA kel.jan@example.org"))
    assert outcome.dataset.SeriesDescription == "PA"
    rule = TextRule(load_profile().vocabulary, find_identifiers([], []))
    for text in (long, "1" * 60_000, "1." * 30_000, "A " * 30_000, "chest" * 12_000, "A1" * 30_000):
        rule.remains(text)
    assert monotonic() - begun < 5


def test_file_meta_that_does_not_say_its_syntax_is_not_guessed_at(tmp_path: Path) -> None:
    """Two readers would guess differently; without any file meta information there is nothing to contradict."""
    dataset = make_dx()
    content = file_of(tmp_path, dataset)
    broken = content.replace(b"\x02\0\x10\0UI", b"\x92\0\x10\0UI", 1)
    assert run_bytes(tmp_path / "broken", dataset, broken).code == "not-readable"
