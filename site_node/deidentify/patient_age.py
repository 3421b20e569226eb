"""The new PatientAge: mended or computed, capped, and left to a person where it cannot be relied on."""

from site_node.deidentify.reasons import unsupported
from site_node.dicom.header import day_of
from site_node.dicom.patient_age import PatientAge, age_between, parse_age

OLDEST = 89  # years; all above are one group (45 CFR 164.514(b)(2)(i)(C))


def new_age(raw: bytes, birth: str = "", day: str = "") -> bytes:
    """The age to write; empty where neither PatientAge nor the dates say one.

    Args:
        raw: PatientAge.
        birth: PatientBirthDate; empty in an item, which has no dates of its own.
        day: StudyDate.

    Raises:
        DicomUnsupported: it is no age, a placeholder, or contradicts the dates.
    """
    text = raw.decode("latin-1").strip(" \0")
    by_dates = age_between(day_of(birth.strip(" \0")), day_of(day.strip(" \0")))
    if not text:
        return _capped(PatientAge(by_dates, "Y")) if by_dates else b""  # in the first year the unit would be a guess
    age = parse_age(text)
    if age is None:
        raise unsupported("malformed-age", "PatientAge")
    if age.contradicts(by_dates):
        raise unsupported("age-conflict", "PatientAge")
    if age.is_placeholder and by_dates is None:
        raise unsupported("age-placeholder", "PatientAge")
    return _capped(age)


def _capped(age: PatientAge) -> bytes:
    return b"090Y" if age.unit == "Y" and age.number > OLDEST else str(age).encode()
