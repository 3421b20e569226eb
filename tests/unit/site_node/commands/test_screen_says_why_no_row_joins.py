"""`screen FOLDER --clinical SHEET`: why a study has no clinical row, in words that say what to mend."""

import json
from pathlib import Path

import pytest

from shared.errors import ExitCode
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
    """Each contradiction has its own code and sentence, and no value stands in it."""
    (tmp_path / "archive").mkdir()
    write_file(make_dx(PatientID="P1", AccessionNumber="A1"), tmp_path / "archive" / "film.dcm")
    (tmp_path / "sheet.csv").write_text(f"MRN,Accession,COVID status\n{rows}\n")
    end, said, _ = run("screen", tmp_path / "archive", "--json", "--clinical", tmp_path / "sheet.csv")
    (study,) = [line for text in said.splitlines() if (line := json.loads(text))["series"] is None]
    assert (end, study["outcome"]) == (ExitCode.PARTIAL, "review")  # the method is missing at any rate
    found = {one["code"]: one["message"] for one in study["reasons"] if one["code"].startswith("clinical-")}
    assert set(found) == ({code} if code else set())
    assert not any(value in message for message in found.values() for value in ("P1", "A1"))
