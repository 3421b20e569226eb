"""Criteria and clinical dictionary are closed: they refuse unknown keys and values."""

import re
from pathlib import Path

import pytest

from shared.errors.protocol import ProtocolInvalid
from shared.protocol.clinical import ClinicalDictionary
from shared.protocol.criteria import Criteria

DATA = Path(__file__).resolve().parents[4] / "shared" / "protocol" / "data"
CRITERIA = sorted((DATA / "criteria").glob("*.toml"))


@pytest.mark.parametrize("path", CRITERIA, ids=lambda path: path.stem)
def test_shipped_criteria_load_and_their_patterns_are_upper_case(path: Path) -> None:
    """Descriptions are matched in upper case, so a pattern in lower case could never match."""
    criteria = Criteria.from_toml(path.read_text(encoding="utf-8"))
    assert criteria.name == path.stem
    region, view = criteria.region, criteria.view
    patterns = (*(region.words + region.other_words if region else ()), *(view.rejected_words if view else ()))
    assert patterns or criteria.name == "adults"
    assert all(pattern == pattern.upper() for pattern in patterns)


def test_the_demonstration_asks_neither_age_nor_covid_status() -> None:
    demo = Criteria.from_toml((DATA / "criteria" / "cxr-demo.toml").read_text(encoding="utf-8"))
    assert demo.age is None
    assert demo.covid is None
    assert demo.linkage
    assert demo.linkage.required == ("finding",)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("minimum_years = 18", "minimum_year = 18", "age.minimum_year"),
        ('younger = "reject"', 'younger = "refuse"', "age.younger"),
        ("minimum_mm = 2.5", "minimum_mm = 9.0", "thickness"),
        ("[age]", "[age", "TOML"),
    ],
)
def test_a_wrong_key_or_value_refuses_to_load_and_is_named(old: str, new: str, problem: str) -> None:
    text = (DATA / "criteria" / "ricord.toml").read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(ProtocolInvalid) as caught:
        Criteria.from_toml(text.replace(old, new))
    assert problem in str(caught.value)


def test_a_dictionary_with_a_doubled_name_or_codes_without_a_coded_field_refuses() -> None:
    text = (DATA / "clinical" / "ricord.toml").read_text(encoding="utf-8")
    for old, new in (('name = "accession"', 'name = "mrn"'), ('kind = "number"', 'kind = "code"')):
        with pytest.raises(ProtocolInvalid):
            ClinicalDictionary.from_toml(text.replace(old, new))


def test_a_thickness_may_be_a_single_one() -> None:
    """The least is at most the greatest."""
    text = (DATA / "criteria" / "ricord.toml").read_text(encoding="utf-8")
    thickness = Criteria.from_toml(text).thickness
    assert thickness is not None
    same = re.sub(r"minimum_mm = [0-9.]+", f"minimum_mm = {thickness.maximum_mm}", text)
    assert Criteria.from_toml(same).thickness == thickness.model_copy(update={"minimum_mm": thickness.maximum_mm})
