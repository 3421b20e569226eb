"""A file goes on if its kind is allowed, nothing says that its pixels hold text, and it is of the study's patient."""

from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors.studies import DicomUnsupported
from shared.protocol.loader import load_profile
from site_node.deidentify.codes import is_of_known_scheme, standing_values
from site_node.deidentify.kinds import check_subject, kind_of
from site_node.deidentify.patient_age import new_age
from site_node.dicom.elements import Element, Elements
from site_node.study import Identity

PROFILE = load_profile()
CT = "1.2.840.10008.5.1.4.1.1.2"
TAGS = {"sop": 0x00080016, "burned": 0x00280301, "type": 0x00080008, "conversion": 0x00080064, "patient": 0x00100020}
TAGS |= {"study": 0x0020000D, "regions": 0x00186011, "bits": 0x60020100, "position": 0x601E0102}


def elements(**values: str | bytes) -> Elements:
    encoded = {name: value.encode() if isinstance(value, str) else value for name, value in values.items()}
    return {TAGS[name]: Element("", value) for name, value in encoded.items()}


def code_of(dataset: Elements, *, searched: bool = False) -> str:
    """The code of why a file may not go on; empty where it may."""
    try:
        return "" if kind_of(dataset, PROFILE, searched=searched) == PROFILE.kinds[CT] else "another kind"
    except DicomUnsupported as error:
        return error.fields["code"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, ""),
        ({"sop": "1.2.3"}, "kind-not-allowed"),
        ({"sop": b""}, "kind-not-allowed"),
        ({"sop": min(PROFILE.quarantine.sop_classes)}, "kind-may-hold-text"),
        ({"burned": "NO"}, ""),
        ({"burned": " yes "}, "burned-in-annotation"),
        ({"type": "ORIGINAL\\PRIMARY\\AXIAL"}, ""),
        ({"type": f"DERIVED\\SECONDARY\\ {min(PROFILE.quarantine.image_type).lower()} "}, "screen-or-report"),
        ({"conversion": min(PROFILE.quarantine.conversion_type)}, "screen-or-report"),
        ({"conversion": "DV"}, "screen-or-report" if "DV" in PROFILE.quarantine.conversion_type else ""),
        ({"regions": b""}, "ultrasound-region"),
        ({"bits": b"\1\0"}, ""),
        ({"bits": b"\2\0"}, "overlay-in-pixels"),
        ({"position": b"\0\0"}, ""),
        ({"position": b"\1\0"}, "overlay-in-pixels"),
    ],
)
def test_each_sign_of_text_stops_a_file(changes: dict[str, str | bytes], code: str) -> None:
    """And says which it was."""
    assert code_of(elements(**{"sop": CT, **changes})) == code


def test_what_declares_text_may_go_on_to_the_search_for_it() -> None:
    """That alone is lifted by it."""
    assert code_of(elements(sop=CT, burned="YES"), searched=True) == ""
    assert code_of(elements(sop=CT, regions=b""), searched=True) == "ultrasound-region"


@pytest.mark.parametrize(
    ("patient", "study", "code"),
    [
        ("P1 ", "1.2.3\0", ""),
        ("", "1.2.3", "no-identity"),
        ("P2", "1.2.3", "other-patient"),
        ("p1", "1.2.3", "other-patient"),
        ("P1", "1.2.4", "other-study"),
        ("P1", "", "other-study"),
    ],
)
def test_a_file_is_of_the_studys_patient(patient: str, study: str, code: str) -> None:
    """By the number and the study that it names itself."""
    dataset, identity = elements(patient=patient, study=study), Identity(issuer="", patient_id=" P1")
    if code:
        with pytest.raises(DicomUnsupported) as caught:
            check_subject(dataset, identity, "1.2.3")
        assert caught.value.fields["code"] == code
    else:
        check_subject(dataset, identity, "1.2.3")


@given(years=st.integers(0, 130), off=st.integers(-3, 3), stated=st.booleans())
@example(years=90, off=0, stated=False)
@example(years=89, off=0, stated=False)
@example(years=90, off=0, stated=True)
@example(years=89, off=0, stated=True)
@example(years=0, off=0, stated=False)
@example(years=0, off=0, stated=True)
def test_an_age_is_capped_and_agrees_with_the_dates(years: int, off: int, stated: bool) -> None:
    """Within a year; where none is stated, the dates say it, but for the first year, whose unit would be a guess."""
    birth, day = f"{date(2020 - years, 1, 1):%Y%m%d}", "20200601"
    age = min(max(years + off, 0), 130)
    if not stated:
        expected = b"" if years == 0 else b"090Y" if years > 89 else b"%03dY" % years
        assert new_age(b"", birth, day) == expected
    elif abs(age - years) > 1:
        with pytest.raises(DicomUnsupported) as caught:
            new_age(b"%03dY" % age, birth, day)
        assert caught.value.fields["code"] == "age-conflict"
    else:
        assert new_age(b"%d" % age, birth, day) == (b"090Y" if age > 89 else b"%03dY" % age)


def test_an_age_that_cannot_be_relied_on_is_left_to_a_person() -> None:
    """No age, and a placeholder where no date says more."""
    for raw, code in ((b"old", "malformed-age"), (b"000Y", "age-placeholder"), (b"999Y", "age-placeholder")):
        with pytest.raises(DicomUnsupported) as caught:
            new_age(raw)
        assert caught.value.fields["code"] == code
    assert new_age(b"") == b""
    assert new_age(b"018M ") == b"018M"
    assert new_age(b"095M") == b"095M"
    assert new_age(b"000Y", "20200101", "20200601") == b"000Y"


def code_item(scheme: str, value: str, meaning: str) -> Elements:
    texts = {0x00080102: scheme, 0x00080100: value, 0x00080104: meaning}
    return {tag: Element("SH", text.encode()) for tag, text in texts.items() if text}


@pytest.mark.parametrize(
    ("scheme", "value", "known"),
    [
        ("SCT", "51185008", True),
        ("SCT", "Oak Rd 17", False),
        ("99LOCAL", "51185008", False),
        ("", "51185008", False),
        ("DCM", "113100", True),
        ("", "", True),
        ("SCT", "", True),
        ("99LOCAL", "", False),
    ],
)
def test_a_code_is_of_a_listed_scheme_and_has_its_form(scheme: str, value: str, known: bool) -> None:
    """What is no code at all may be an item of another kind."""
    assert is_of_known_scheme(code_item(scheme, value, "x"), PROFILE.vocabulary.rules) is known


def test_a_meaning_is_the_standards_or_may_leave() -> None:
    """Any other gives way to the Standard's; where that has none, it is a text like any other."""
    chest = code_item("SCT", "51185008", "Zebrawood")
    meaning = "Thoracic structure (body structure)"
    assert standing_values(chest, lambda _: False)[0x00080104] == meaning.encode()
    assert 0x00080104 not in standing_values(chest, lambda _: True)
    assert standing_values(code_item("SCT", "51185008", meaning), lambda _: False)[0x00080104] == meaning.encode()
    assert standing_values(code_item("SCT", "99999999", "Zebrawood"), lambda _: False) == {
        0x00080102: b"SCT",
        0x00080100: b"99999999",
    }
    assert standing_values(code_item("", "51185008", "Chest"), lambda _: False) == {}
