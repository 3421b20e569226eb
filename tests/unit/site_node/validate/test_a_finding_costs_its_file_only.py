"""A finding in a file leaves out that file; a finding of the study, or in every file, refuses the study."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from site_node.deidentify.study import deidentify
from site_node.study import Deidentified, Ending, Included, Instance, Refused, Validated
from site_node.validate import validation
from site_node.validate.finding import Finding
from site_node.validate.study_check import StudyCheck, check_study
from tests.factories.deidentified import PROFILE, PSEUDONYMS
from tests.factories.dicom import make_ct
from tests.factories.studies import make_included, make_received

SLICES = 7


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Included, Deidentified]:
    folder = tmp_path_factory.mktemp("study")
    included = make_included(make_received(folder / "spool", make_ct(slices=SLICES, rows=16)))
    output = deidentify(included, profile=PROFILE, pseudonyms=PSEUDONYMS, out=folder / "out")
    assert isinstance(output, Deidentified)
    return included, output


def run(study: tuple[Included, Deidentified], folder: Path) -> Validated | Refused:
    return validation.validate(*study, profile=PROFILE, pseudonyms=PSEUDONYMS, report=folder / "report.json")


@given(st.sets(st.integers(0, SLICES - 1)))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_files_at_fault_are_left_out_and_no_other(
    study: tuple[Included, Deidentified], tmp_path: Path, at_fault: set[int]
) -> None:
    """Whichever slices have a finding of their own, exactly those are left out, each with its reason."""
    _, output = study
    damaged = {output.instances[number].path: output.instances[number].path.read_bytes() for number in at_fault}
    try:
        for path, content in damaged.items():
            path.write_bytes(content[:-2] + b"\7\7")
        result = run(study, tmp_path)
    finally:
        for path, content in damaged.items():
            path.write_bytes(content)
    if len(at_fault) == SLICES:
        assert isinstance(result, Refused)
        return
    assert isinstance(result, Validated)
    assert {file.path for file in result.study.instances} == {file.path for file in output.instances} - damaged.keys()
    assert _sources(file.instance for file in result.study.left_out) == _sources(
        file.source for file in output.instances if file.path in damaged
    )
    assert {file.ending for file in result.study.left_out} <= {Ending.REFUSED}
    assert {reason.code for file in result.study.left_out for reason in file.reasons} <= {"validate-pixels"}
    assert result.digests.keys() == {file.sop_instance_uid for file in result.study.instances}


def test_a_finding_of_the_study_refuses_all_of_it(study: tuple[Included, Deidentified], tmp_path: Path) -> None:
    """A file that no instance accounts for cannot be charged to any of them."""
    extra = study[1].instances[0].path.with_name("extra.dcm")
    extra.write_bytes(b"extra")
    try:
        result = run(study, tmp_path)
    finally:
        extra.unlink()
    assert isinstance(result, Refused)
    assert [reason.code for reason in result.reasons] == ["validate-extra-file"]


def test_what_passes_apart_must_pass_together(
    study: tuple[Included, Deidentified], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where two parts pass and both together do not, nothing goes on."""

    def strict(source: Included, output: Deidentified, **more: Any) -> StudyCheck:
        checked = check_study(source, output, **more)
        together = len(output.instances) > SLICES // 2 + 1
        return checked._replace(of_files=(Finding(code="number-in-text"),)) if together else checked

    monkeypatch.setattr(validation, "check_study", strict)
    assert isinstance(run(study, tmp_path), Refused)


def _sources(instances: Iterable[Instance]) -> set[Path]:
    return {instance.path for instance in instances}
