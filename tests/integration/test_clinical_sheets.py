"""A sheet's whole path in a home: refused, mapped, reviewed, imported, joined; every row and study is accounted for."""

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
        done = self.run(*arguments)
        assert done.returncode == code, done.stderr
        return done.stdout

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
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
    for number, dataset in enumerate(make_ct(slices=8, rows=32, study="ct")):
        write_file(dataset, folder / f"ct{number}.dcm")
    write_file(make_dx(study="film", PatientID="OTHER"), folder / "film.dcm")
    return folder


def test_a_sheet_that_is_not_ours_is_mapped_reviewed_and_joined(site: Site, archive: Path, tmp_path: Path) -> None:
    """It is refused until a person signs the proposed mapping; the next such sheet is read without asking."""
    patient = make_ct(slices=1, study="ct")[0]
    sheet, mapping = tmp_path / "theirs.csv", tmp_path / "mapping.toml"
    sheet.write_text(THEIRS.format(ct=patient.PatientID), encoding="utf-8")
    assert "clinical map" in site.run("clinical", "import", sheet, "--as", "A. Miller").stderr
    site("clinical", "map", sheet, "--out", mapping)
    assert mapping.stat().st_mode & 0o777 == 0o600
    assert "reviewed_by" in site.run("clinical", "import", sheet, "--mapping", mapping, "--as", "A. Miller").stderr
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
    done = json.loads(site("clinical", "import", sheet, "--mapping", mapping, "--as", "A. Miller", "--json"))
    assert (done["rows"], done["problems"], done["mapped"]) == (2, [], True)
    assert done["reopened"] >= 1
    (event,) = json.loads(site("review", "audit", "--json"))
    assert event["action"] == "clinical-import"
    assert "Dr Who" in event["detail"]
    assert json.loads(site("clinical", "import", sheet, "--as", "A. Miller", "--json"))["mapped"]
    site("screen", code=3)
    unmatched = site("clinical", "unmatched", "--json", code=3)
    listed = json.loads(unmatched)
    assert [(row["row"], row["code"]) for row in listed["rows"]] == [(3, "no-study")]
    assert [study["code"] for study in listed["studies"]] == ["no-row"]
    for identifier in ("NOBODY", "OTHER", str(patient.PatientID)):
        assert identifier not in unmatched + site("clinical", "unmatched", code=3)
    assert site.run("clinical", "unmatched", "--show").returncode == 2
    assert site.run("clinical", "unmatched", "--show", "--json").returncode == 2


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
    assert site.run("clinical", "check", tmp_path / "sheet.xlsx", "--out", tmp_path / "marked.xlsx").returncode == 2


def test_screen_alone_prints_lines_for_scripts_and_the_rest_elsewhere(
    site: Site, archive: Path, tmp_path: Path
) -> None:
    """Standard output has series and studies only; a cut file, a letter and a row without a study are reported."""
    assert site.run("screen", archive, "--json").returncode in {0, 3}
    content = (archive / "ct3.dcm").read_bytes()
    (archive / "ct3.dcm").write_bytes(content[:-200])
    (archive / "letter.txt").write_text("dear colleague")
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("MRN,Age\nNOBODY,40\n", encoding="utf-8")
    done = site.run("screen", archive, "--json", "--clinical", sheet)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 3
    assert all(set(line) == {"study", "series", "outcome", "reasons"} and line["study"] for line in lines)
    assert len([line for line in lines if line["series"] is None]) == 2
    ct = str(make_ct(slices=1, study="ct")[0].StudyInstanceUID)
    assert {line["outcome"] for line in lines if line["study"] == ct} == {"review"}
    assert [
        cause for line in lines for cause in line["reasons"] if cause["code"] == "truncated" and "instance" in cause
    ]
    note = json.loads(done.stderr)
    assert note["files"] == {"not-dicom": 1}
    assert note["rows_without_study"] == [{"row": 2, "code": "no-study"}]
    assert site.run("screen", tmp_path / "nothing", "--json").returncode == 2
    assert site.run("screen", archive, "--json", "--criteria", "no-such").returncode == 1
