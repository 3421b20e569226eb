"""`screen FOLDER --clinical SHEET` says why a study has no clinical row, and what to correct."""

import json
from pathlib import Path

import pytest

from shared.errors.base import ExitCode
from tests.factories.dicom import make_dx, write_file
from tests.unit.site_node.commands.conftest import Run


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ("P1,A1,positive", None),
        ("P1,A2,positive", "clinical-other-exam"),
        ("P2,A1,positive", "clinical-keys-disagree"),
        ("P1,A1,positive\nP1,A1,negative", "clinical-rows-several"),
        ("P2,A2,positive", "clinical-row-missing"),
    ],
)
def test_a_row_that_is_there_is_not_called_missing(run: Run, tmp_path: Path, rows: str, code: str | None) -> None:
    """Each contradiction has its own code and sentence, without any value of the sheet."""
    (tmp_path / "archive").mkdir()
    write_file(make_dx(PatientID="P1", AccessionNumber="A1"), tmp_path / "archive" / "film.dcm")
    (tmp_path / "sheet.csv").write_text(f"MRN,Accession,COVID status\n{rows}\n")
    exit_code, output, _ = run("screen", tmp_path / "archive", "--json", "--clinical", tmp_path / "sheet.csv")
    (study,) = [line for text in output.splitlines() if (line := json.loads(text))["series"] is None]
    assert (exit_code, study["outcome"]) == (ExitCode.PARTIAL, "review")  # the method is missing in every case
    clinical = [reason for reason in study["reasons"] if reason["code"].startswith("clinical-")]
    assert {reason["code"] for reason in clinical} == ({code} if code else set())
    assert not any(value in reason["message"] for reason in clinical for value in ("P1", "A1"))
