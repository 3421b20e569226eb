"""Rules of age, COVID-19 status and the clinical row decide by what they state, to the last value that passes."""

from datetime import date
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from site_node.screen.facts import Facts
from site_node.screen.patient import check_age, check_covid, check_linkage, check_study
from site_node.study import ClinicalRow
from tests.factories.facts import RICORD, changed_facts, codes

YEARS = st.integers(0, 130)


def row(**values: Any) -> ClinicalRow:
    return ClinicalRow(row=2, keys={}, values=values)


@given(ages=st.lists(st.integers(1, 130), min_size=1, max_size=5), minimum=st.integers(1, 40))
def test_the_youngest_image_decides(slice_facts: Facts, ages: list[int], minimum: int) -> None:
    """A study passes if and only if every age that its images state reaches the minimum, whatever their order."""
    assert RICORD.age
    rule = RICORD.age.model_copy(update={"minimum_years": minimum})
    members = [changed_facts(slice_facts, birth_date=None, age=f"{age:03d}Y") for age in ages]
    expected = ["under-age"] if any(age < minimum for age in ages) else []
    assert codes(check_age(members, None, rule)) == expected


@given(by_birth=YEARS, stated=st.integers(1, 130))
@example(by_birth=2, stated=18)
@example(by_birth=18, stated=2)
@example(by_birth=2, stated=17)
def test_ages_that_differ_by_a_year_agree(slice_facts: Facts, by_birth: int, stated: int) -> None:
    """Where they differ by more, a person looks, unless both are too low; the younger of the two counts."""
    assert RICORD.age
    facts = changed_facts(
        slice_facts, birth_date=date(2020 - by_birth, 1, 1), study_date=date(2020, 6, 1), age=f"{stated:03d}Y"
    )
    is_conflict = abs(by_birth - stated) > 1 and max(by_birth, stated) >= 18
    expected = ["age-conflict"] if is_conflict else ["under-age"] if min(by_birth, stated) < 18 else []
    assert codes(check_age([facts], None, RICORD.age)) == expected


def test_an_age_is_known_or_a_person_looks(slice_facts: Facts) -> None:
    """A malformed one and a placeholder are looked at, the latter only where no birth date says more."""
    assert RICORD.age
    for age, birth, expected in (
        ("old", None, ["malformed-age"]),
        ("999Y", None, ["age-placeholder"]),
        ("000Y", date(2020, 1, 1), ["under-age"]),
        ("", None, ["age-missing"]),
        ("", date(1980, 1, 1), []),
    ):
        assert codes(check_age([changed_facts(slice_facts, age=age, birth_date=birth)], None, RICORD.age)) == expected
    accepting = RICORD.age.model_copy(update={"younger": "accept"})
    assert check_age([changed_facts(slice_facts, age="old", birth_date=date(1980, 1, 1))], None, accepting) == ()
    unknown = changed_facts(slice_facts, age="", birth_date=None)
    assert codes(check_age([unknown], row(age=17), RICORD.age)) == ["under-age"]
    assert codes(check_age([unknown], row(age="17"), RICORD.age)) == ["age-missing"]
    assert check_age([changed_facts(slice_facts, age="050Y", birth_date=None)], row(age=17), RICORD.age) == ()


@given(
    status=st.sampled_from([None, "positive", "negative", "pending"]),
    method=st.sampled_from([None, "rt-pcr", "clinical"]),
    timing=st.sampled_from([None, "during-admission"]),
)
def test_a_status_needs_its_method_and_a_positive_one_its_timing(
    status: str | None, method: str | None, timing: str | None
) -> None:
    """By the table of methods that confirm it."""
    assert RICORD.covid
    methods = {"positive": {"rt-pcr", "clinical"}, "negative": {"rt-pcr"}}
    if status not in methods:
        expected = ["covid-status-missing" if status is None else "covid-status"]
    else:
        expected = [] if method in methods[status] else ["covid-method-missing"]
        expected += ["covid-timing-missing"] if status == "positive" and timing is None else []
    values = row(covid_status=status, covid_method=method, covid_timing=timing)
    assert codes(check_covid(values, RICORD.covid)) == expected
    assert codes(check_covid(None, RICORD.covid)) == ["covid-status-missing"]


@given(
    in_images=st.none() | st.integers(18, 90), age=st.none() | st.integers(18, 90),
    sex=st.sampled_from(["", "F", "M", "X"]), stated=st.sampled_from([None, "F", "M"]),
)  # fmt: skip
@example(in_images=60, age=61, sex="F", stated="F")
@example(in_images=60, age=62, sex="F", stated="F")
def test_the_row_and_the_images_fill_and_confirm_each_other(
    slice_facts: Facts, in_images: int | None, age: int | None, sex: str, stated: str | None
) -> None:
    """Age and sex stand in one of them; where both say it, ages differ by a year at most and the sex is the same."""
    assert RICORD.linkage
    facts = changed_facts(slice_facts, birth_date=None, age="" if in_images is None else f"{in_images:03d}Y", sex=sex)
    known = {"F": "F", "M": "M"}.get(sex)
    expected = []
    if (in_images is None and age is None) or (known is None and stated is None):
        expected.append("clinical-field-missing")
    if in_images is not None and age is not None and abs(in_images - age) > 1:
        expected.append("age-disagrees")
    if known and stated and known != stated:
        expected.append("sex-disagrees")
    assert codes(check_linkage([facts], row(age=age, sex=stated), RICORD.linkage)) == expected


def test_without_a_sheet_or_its_rules_no_row_is_asked_for(slice_facts: Facts) -> None:
    """The rules of status and linkage are asked where there is a sheet and the criteria have them."""
    good = changed_facts(slice_facts, sex="F")
    odd = row(covid_status=None, age=19, sex="M")
    pairs = [(RICORD, ["covid-status-missing", "age-disagrees", "sex-disagrees"])]
    pairs += [(RICORD.model_copy(update={"covid": None}), ["age-disagrees", "sex-disagrees"])]
    pairs += [(RICORD.model_copy(update={"linkage": None}), ["covid-status-missing"])]
    for criteria, expected in pairs:
        assert codes(check_study([good], criteria=criteria, clinical=odd, clinical_checked=True)) == expected
        assert check_study([good], criteria=criteria, clinical=odd, clinical_checked=False) == ()
    child = changed_facts(slice_facts, age="003Y", birth_date=None)
    ageless = RICORD.model_copy(update={"age": None})
    assert check_study([child], criteria=ageless, clinical=None, clinical_checked=False) == ()
    unlinked = RICORD.model_copy(update={"linkage": None})
    assert codes(check_study([good], criteria=unlinked, clinical=None, clinical_checked=True)) == [
        "covid-status-missing"
    ]
