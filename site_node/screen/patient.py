"""Rules for the study as a whole: one patient, age at the study date, COVID status, the clinical row."""

from collections.abc import Sequence

from shared.protocol.criteria import AgeRule, CovidRule, Criteria, LinkageRule
from site_node.dicom.patient_age import age_between, parse_age
from site_node.screen.facts import Facts
from site_node.screen.reasons import reason
from site_node.study import ClinicalRow, NoRowReason, Reason

_NO_ROW = {
    NoRowReason.NO_ROW: "clinical-row-missing",
    NoRowReason.OTHER_EXAM: "clinical-other-exam",
    NoRowReason.KEYS_DISAGREE: "clinical-keys-disagree",
    NoRowReason.SEVERAL_ROWS: "clinical-rows-several",
}


def check_study(
    members: Sequence[Facts], *, criteria: Criteria, clinical: ClinicalRow | NoRowReason | None, clinical_checked: bool
) -> tuple[Reason, ...]:
    """The reasons of every study-level rule; without a clinical sheet no clinical rule applies."""
    reasons = _check_unique(members)
    row = clinical if isinstance(clinical, ClinicalRow) else None
    if criteria.age:
        reasons += check_age(members, row, criteria.age)
    if clinical_checked and row is None and criteria.linkage:
        code = _NO_ROW[clinical if isinstance(clinical, NoRowReason) else NoRowReason.NO_ROW]
        return reasons + reason(criteria.linkage.missing_row, code, None)
    if clinical_checked and criteria.covid:
        reasons += check_covid(row, criteria.covid)
    if clinical_checked and row and criteria.linkage:
        reasons += check_linkage(members, row, criteria.linkage)
    return reasons


def _check_unique(members: Sequence[Facts]) -> tuple[Reason, ...]:
    reasons: tuple[Reason, ...] = ()
    if len({facts.patient for facts in members}) > 1:
        reasons += reason("review", "mixed-patients", "PatientID")
    if len({facts.instance.sop_instance_uid for facts in members}) < len(members):
        reasons += reason("review", "duplicate-uid", "SOPInstanceUID")
    return reasons


def check_age(members: Sequence[Facts], clinical: ClinicalRow | None, rule: AgeRule) -> tuple[Reason, ...]:
    """The youngest age that the images state, or else the sheet's, reaches the minimum.

    A person looks where an age that could exclude somebody cannot be relied on.
    """
    doubts = dict.fromkeys(
        code for facts in members if rule.younger != "accept" and (code := _doubt(facts, rule.minimum_years))
    )
    if doubts:
        return tuple(why for code in doubts for why in reason("review", code, "PatientAge"))
    ages = [age for facts in members for age in stated_ages(facts)]
    if not ages and isinstance(stated := clinical and clinical.values.get("age"), int):
        ages = [stated]
    if not ages:
        return reason(rule.missing, "age-missing", "PatientBirthDate")
    if min(ages) < rule.minimum_years:
        return reason(rule.younger, "under-age", "PatientBirthDate")
    return ()


def image_age(facts: Facts) -> int | None:
    """Whole years at the study date from the birth date, else from PatientAge; `None` where neither says it."""
    return next(iter(stated_ages(facts)), None)


def stated_ages(facts: Facts) -> list[int]:
    """Whole years at the study date by the birth date, then by PatientAge, which may differ by one."""
    by_birth, stated = age_between(facts.birth_date, facts.study_date), parse_age(facts.age)
    return [age for age in (by_birth, stated.years if stated else None) if age is not None]


def _doubt(facts: Facts, minimum_years: int) -> str:
    """The code of why PatientAge cannot be relied on; empty where it can, is not stated, or both ages are too low."""
    by_birth, stated = age_between(facts.birth_date, facts.study_date), parse_age(facts.age)
    if stated is None:
        return "malformed-age" if facts.age else ""
    if by_birth is not None and stated.contradicts(by_birth):
        return "age-conflict" if max(stated.years, by_birth) >= minimum_years else ""
    return "age-placeholder" if stated.is_placeholder and by_birth is None else ""


def check_covid(clinical: ClinicalRow | None, rule: CovidRule) -> tuple[Reason, ...]:
    """Status, the method that confirms it and the timing clause, as RICORD's call for data asks."""
    values = clinical.values if clinical else {}
    status = values.get("covid_status")
    if status is None:
        return reason(rule.missing_status, "covid-status-missing", None)
    if status not in rule.statuses:
        return reason(rule.other_status, "covid-status", None)
    reasons: tuple[Reason, ...] = ()
    if values.get("covid_method") not in rule.statuses[str(status)]:
        reasons += reason(rule.missing_method, "covid-method-missing", None)
    if status in rule.timing_needed and values.get("covid_timing") is None:
        reasons += reason(rule.missing_timing, "covid-timing-missing", None)
    return reasons


def check_linkage(members: Sequence[Facts], clinical: ClinicalRow, rule: LinkageRule) -> tuple[Reason, ...]:
    """The row holds what is required and the images lack, and does not contradict the images."""
    from_images = {"age": image_age(members[0]), "sex": members[0].sex if members[0].sex in {"F", "M", "O"} else None}
    reasons: tuple[Reason, ...] = ()
    if any(clinical.values.get(name) is None and from_images.get(name) is None for name in rule.required):
        reasons += reason(rule.missing_field, "clinical-field-missing", None)
    age, sex = clinical.values.get("age"), clinical.values.get("sex")
    age_in_images = from_images["age"]
    if isinstance(age, int) and isinstance(age_in_images, int) and abs(age - age_in_images) > 1:
        reasons += reason(rule.disagreement, "age-disagrees", "PatientAge")
    if sex and from_images["sex"] and sex != from_images["sex"]:
        reasons += reason(rule.disagreement, "sex-disagrees", "PatientSex")
    return reasons
