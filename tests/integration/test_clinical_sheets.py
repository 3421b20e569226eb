"""A sheet's whole way in a home: refused, mapped, reviewed, imported, joined; and every row and study accounted for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from openpyxl import load_workbook

from tests.factories.dicom import make_ct, make_dx, write_file

THEIRS = """Pat.-Nr.;Covid-19;Test;Timing clause;Alter;Gender
{ct};pos;pcr;during admission;;
NOBODY;neg;pcr;;40;w
"""


class Site:
    """`ricord-site` as a process of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *arguments: object, code: int = 0) -> str:
        done = self.said(*arguments)
        assert done.returncode == code, done.stderr
        return done.stdout

    def said(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        program = "from site_node.cli import main; main()"
        words = [sys.executable, "-c", program, "--home", str(self.home), *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "home")
    site("init", "--name", "General")
    return site


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    for number, one in enumerate(make_ct(slices=8, rows=32, study="ct")):
        write_file(one, folder / f"ct{number}.dcm")
    write_file(make_dx(study="film", PatientID="OTHER"), folder / "film.dcm")
    return folder


def test_a_sheet_that_is_not_ours_is_mapped_reviewed_and_joined(site: Site, archive: Path, tmp_path: Path) -> None:
    """Refused, proposed, still refused until a person signs, then read; and the next such sheet without asking."""
    patient = make_ct(slices=1, study="ct")[0]
    sheet, mapping = tmp_path / "theirs.csv", tmp_path / "mapping.toml"
    sheet.write_text(THEIRS.format(ct=patient.PatientID), encoding="utf-8")
    assert "clinical map" in site.said("clinical", "import", sheet).stderr
    site("clinical", "map", sheet, "--out", mapping)
    assert mapping.stat().st_mode & 0o777 == 0o600
    assert "reviewed_by" in site.said("clinical", "import", sheet, "--mapping", mapping).stderr
    text = mapping.read_text(encoding="utf-8").replace('reviewed_by = ""', 'reviewed_by = "Dr Who"')
    for heading, field in (
        ("Pat.-Nr.", "mrn"),
        ("Covid-19", "covid_status"),
        ("Test", "covid_method"),
        ("Alter", "age"),
    ):
        start, mark, rest = text.partition(f'heading = "{heading}"\n')
        text = start + mark + f'field = "{field}"\n' + rest.partition("\n")[2]
    mapping.write_text(text, encoding="utf-8")
    site("receive", archive)
    site("screen", code=3)
    done = json.loads(site("clinical", "import", sheet, "--mapping", mapping, "--json"))
    assert (done["rows"], done["problems"], done["mapped"]) == (2, [], True)
    assert done["reopened"] >= 1
    (event,) = json.loads(site("review", "audit", "--json"))
    assert event["action"] == "clinical-import"
    assert "Dr Who" in event["detail"]
    assert json.loads(site("clinical", "import", sheet, "--json"))["mapped"]
    site("screen", code=3)
    lone = site("clinical", "unmatched", "--json", code=3)
    found = json.loads(lone)
    assert [(one["row"], one["code"]) for one in found["rows"]] == [(3, "no-study")]
    assert [one["code"] for one in found["studies"]] == ["no-row"]
    for identifier in ("NOBODY", "OTHER", str(patient.PatientID)):
        assert identifier not in lone + site("clinical", "unmatched", code=3)
    assert site.said("clinical", "unmatched", "--show").returncode == 2
    assert site.said("clinical", "unmatched", "--show", "--json").returncode == 2


def test_check_gives_the_sheet_back_with_its_bad_cells_marked(site: Site, tmp_path: Path) -> None:
    site("clinical", "template", tmp_path / "sheet.xlsx")
    book = load_workbook(tmp_path / "sheet.xlsx")
    book["Clinical"]["A2"], book["Clinical"]["K2"] = "P1", "Zebra"
    book.save(tmp_path / "sheet.xlsx")
    shown = site("clinical", "check", tmp_path / "sheet.xlsx", "--out", tmp_path / "marked.xlsx", "--json", code=3)
    (problem,) = json.loads(shown)["problems"]
    assert (problem["row"], problem["letter"], problem["code"]) == (2, "K", "unknown-code")
    assert "Zebra" not in shown
    assert load_workbook(tmp_path / "marked.xlsx")["Clinical"]["K2"].comment
    assert site.said("clinical", "check", tmp_path / "sheet.xlsx", "--out", tmp_path / "marked.xlsx").returncode == 2


def test_screen_alone_prints_lines_for_scripts_and_the_rest_elsewhere(
    site: Site, archive: Path, tmp_path: Path
) -> None:
    """Standard output is series and studies only; a cut file, a letter and a row of nobody are told, not lost."""
    assert site.said("screen", archive, "--json").returncode in {0, 3}
    content = (archive / "ct3.dcm").read_bytes()
    (archive / "ct3.dcm").write_bytes(content[:-200])
    (archive / "letter.txt").write_text("dear colleague")
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("MRN,Age\nNOBODY,40\n", encoding="utf-8")
    done = site.said("screen", archive, "--json", "--clinical", sheet)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 3
    assert all(set(line) == {"study", "series", "outcome", "reasons"} and line["study"] for line in lines)
    assert len([line for line in lines if line["series"] is None]) == 2
    ct = str(make_ct(slices=1, study="ct")[0].StudyInstanceUID)
    assert {line["outcome"] for line in lines if line["study"] == ct} == {"review"}
    assert [one for line in lines for one in line["reasons"] if one["code"] == "truncated" and "instance" in one]
    note = json.loads(done.stderr)
    assert note["files"] == {"not-dicom": 1}
    assert note["rows_without_study"] == [{"row": 2, "code": "no-study"}]
    assert site.said("screen", tmp_path / "nothing", "--json").returncode == 2
    assert site.said("screen", archive, "--json", "--criteria", "no-such").returncode == 1
