"""Laws of the screen, over every rule: outcomes follow the criteria file, and nothing that enters disappears."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.protocol.criteria import Criteria
from site_node.screen.decide import assess, decide, screen
from site_node.study import Included, Severity
from tests.factories.dicom import make_ct, make_dx
from tests.factories.studies import make_received

DATA = Path(__file__).resolve().parents[2] / "shared" / "protocol" / "data" / "criteria"
RICORD = Criteria.from_toml((DATA / "ricord.toml").read_text(encoding="utf-8"))
FLAWS = st.fixed_dictionaries(
    {},
    optional={
        "Modality": st.sampled_from(["MR", "US"]),
        "BodyPartExamined": st.sampled_from([None, "ABDOMEN", "HEAD"]),
        "SeriesDescription": st.sampled_from([None, "Abdomen", "Thorax lat"]),
        "StudyDescription": st.sampled_from([None, "CT ABDOMEN", "CHEST"]),
        "PatientAge": st.sampled_from([None, "003W", "017Y", "091Y"]),
        "PatientBirthDate": st.sampled_from([None, "", "20190101"]),
        "SliceThickness": st.sampled_from([None, 1.0, 9.0]),
        "ImagePositionPatient": st.sampled_from([None, [0, 0, 0]]),
        "ImageOrientationPatient": st.sampled_from([None, [1, 0, 0, 0, 0, -1]]),
        "ViewPosition": st.sampled_from([None, "LL", "AP"]),
    },
)


@given(film=FLAWS, volume=FLAWS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_instance_is_kept_or_left_out_with_a_reason(
    tmp_path_factory: pytest.TempPathFactory, film: dict[str, object], volume: dict[str, object]
) -> None:
    """Kept and left-out instances partition the study, and every left-out one has a reason."""
    folder = tmp_path_factory.mktemp("study")
    study = make_received(folder, [*make_ct(rows=4, **volume), make_dx(rows=4, **film)])  # type: ignore[arg-type]  # attribute changes are any
    assessment = assess(study, criteria=RICORD, clinical=None, clinical_checked=False)
    kept = [instance for series in assessment.series for instance in series.kept]
    left_out = [entry for series in assessment.series for entry in series.left_out]
    paths = [instance.path for instance in (*kept, *(entry.instance for entry in left_out))]
    assert sorted(paths) == sorted(instance.path for instance in study.instances)
    assert all(entry.reasons for entry in left_out)
    decision = decide(assessment)
    if isinstance(decision, Included):
        assert len(decision.kept) + len(decision.left_out) == len(study.instances)
        assert assessment.outcome in {Severity.ACCEPT, Severity.WARN}
    else:
        assert decision.reasons


@given(film=FLAWS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_outcome_set_to_accept_silences_its_rule(
    tmp_path_factory: pytest.TempPathFactory, film: dict[str, object]
) -> None:
    """Criteria whose every outcome is `accept` keep everything: severities come from the data alone."""
    text = (DATA / "ricord.toml").read_text(encoding="utf-8")
    for outcome in ("warn", "review", "reject"):
        text = text.replace(f'= "{outcome}"', '= "accept"')
    study = make_received(tmp_path_factory.mktemp("study"), [make_dx(rows=4, **film)])  # type: ignore[arg-type]  # attribute changes are any
    included = screen(study, criteria=Criteria.from_toml(text), clinical=None, clinical_checked=True)
    assert isinstance(included, Included)
    assert included.kept == study.instances
    assert not included.warnings


def test_reasons_never_hold_a_value_of_the_patient(tmp_path: Path) -> None:
    """No reason's code or sentence repeats a value of the file."""
    study = make_received(
        tmp_path,
        [make_dx(StudyDescription="Zebrawood", BodyPartExamined="QUAGGA", ViewPosition="OKAPI", SeriesDescription="")],
    )
    assessment = assess(study, criteria=RICORD, clinical=None, clinical_checked=True)
    assert assessment.all_reasons
    text = assessment.model_dump_json(include={"reasons": True, "series": {"__all__": {"reasons"}}}).upper()
    assert not any(word in text for word in ("ZEBRAWOOD", "QUAGGA", "OKAPI"))
