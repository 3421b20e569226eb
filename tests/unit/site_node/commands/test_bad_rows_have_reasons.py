"""Lists of accession numbers as people keep them: each bad row has its reason, and the others are requested."""

import json
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from openpyxl import Workbook

from shared.errors.base import ExitCode
from site_node.network.arrivals import Arrivals
from site_node.network.scp import serving
from site_node.settings.dimse import ScpSettings
from tests.factories.pacs import key_of
from tests.factories.ports import free_port
from tests.unit.site_node.commands.conftest import Run

ASKED = "pacs-unreachable"  # how a good row ends here, where there is no PACS


@pytest.fixture
def home(tmp_path: Path, run: Run) -> Path:
    """A home whose PACS is unreachable."""
    assert run("--home", tmp_path / "home", "init", "--name", "General")[0] == 0
    with (tmp_path / "home" / "site.toml").open("a") as file:
        file.write(f'\n[pacs]\nhost = "127.0.0.1"\nport = {free_port()}\nae_title = "PACS"\nattempts = 1\n')
    return tmp_path / "home"


def book(file: Path, *rows: list[object], merge: Sequence[str] = ()) -> Path:
    workbook = Workbook()
    assert workbook.active is not None
    for row in rows:
        workbook.active.append(row)
    for cells in merge:
        workbook.active.merge_cells(cells)
    workbook.save(file)
    return file


def reasons_by_row(run: Run, home: Path, file: Path, *more: str) -> dict[str, str]:
    """Each row that reasons_by_row with a reason."""
    code, text, _ = run("--home", home, "receive", "--accessions", file, *more, "--json")
    assert code == ExitCode.PARTIAL
    rows = json.loads(text)["rows"]
    assert isinstance(rows, dict)
    return rows


def test_formulas_merged_cells_and_repeated_headings_are_reported_by_row(run: Run, home: Path) -> None:
    """No stored result is trusted, no merged cell belongs to a row, and no heading is requested."""
    file = book(
        home / "list.xlsx",
        ["A title over it all", None],
        ["Accession", "MRN"],
        ["Accession", "MRN"],
        ["A1", "P1"],
        ['=CONCATENATE("A","2")', "P2"],
        ["A3", "P3"],
        [None, "P4"],
        ["A5", "=B4"],
        ["A6", "P6"],
        merge=("A1:B1", "A6:A7"),
    )
    assert reasons_by_row(run, home, file, "--patient-column", "MRN") == {
        "3": "heading-row", "4": ASKED, "5": "formula", "6": "merged", "7": "merged", "8": "formula", "9": ASKED,
    }  # fmt: skip


def test_text_files_hold_formulas_too(run: Run, home: Path) -> None:
    """Programs write `="0012"` to keep zeros; any other formula is reported."""
    (home / "list.csv").write_text('Accession,x\n"=""0012""",1\n=A2,2\n0012,3\n')
    assert reasons_by_row(run, home, home / "list.csv") == {"2": ASKED, "3": "formula", "4": "duplicate-in-list"}


@pytest.mark.parametrize("suffix", [".xlsx", ".xls"])
def test_a_list_with_a_password_is_refused(run: Run, home: Path, suffix: str) -> None:
    """Nothing is requested, and nothing is kept."""
    file = home / f"list{suffix}"
    file.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600) + "EncryptedPackage".encode("utf-16-le"))
    code, _, text = run("--home", home, "receive", "--accessions", file)
    assert (code, "password" in text) == (ExitCode.USAGE, True)
    assert not list((home / "requests").glob("*.jsonl"))


def test_an_ambiguous_column_must_be_named(run: Run, home: Path) -> None:
    """Of two columns that fit, none is chosen; a person names one."""
    file = book(home / "list.xlsx", ["Accession", "Accession number"], ["A1", "B1"])
    code, _, text = run("--home", home, "receive", "--accessions", file)
    assert (code, "--column" in text) == (ExitCode.USAGE, True)
    assert reasons_by_row(run, home, file, "--column", "Accession number") == {"2": ASKED}


def test_a_pacs_that_refuses_our_title_differs_from_an_unreachable_one(run: Run, home: Path, tmp_path: Path) -> None:
    """Each row has that reason; the number does not count as unknown."""
    port = int(str(tomllib.loads((home / "site.toml").read_text())["pacs"]["port"]))
    (home / "list.txt").write_text("A1\nA2\n")
    other = ScpSettings(host="127.0.0.1", port=port, callers=("ELSE",), ae_title="PACS")
    with serving(other, Arrivals(tmp_path / "other", key_of)):
        assert reasons_by_row(run, home, home / "list.txt") == {"1": "pacs-refused", "2": "pacs-refused"}


@pytest.mark.slow
def test_tens_of_thousands_of_rows_are_entered(run: Run, home: Path) -> None:
    """Outside the hours nothing is asked yet; every row is a request, whole and durable."""
    settings = home / "site.toml"
    now = time.localtime()
    hours = f"{(now.tm_hour + 2) % 24:02d}:00-{(now.tm_hour + 3) % 24:02d}:00"
    settings.write_text(settings.read_text() + f'hours = "{hours}"\n')
    rows = "\n".join(f"{number:06d},P{number}" for number in range(20_000))
    (home / "list.csv").write_text(f"Accession,MRN\n{rows}\n000007,P7\n")
    code, text, _ = run("--home", home, "receive", "--accessions", home / "list.csv", "--json")
    report = json.loads(text)
    assert code == ExitCode.PARTIAL
    assert (report["requests"], report["waiting"], report["rows"]) == (20_000, 20_000, {"20002": "duplicate-in-list"})


def test_zeros_that_only_a_format_shows_are_not_lost(run: Run, home: Path) -> None:
    """12 shown as 000012 is ambiguous: a person says which number is meant, and the other rows go on."""
    workbook = Workbook()
    assert workbook.active is not None
    for row in (["Accession"], [12], [123456], [345], ["0012"]):
        workbook.active.append(row)
    for cell in ("A2", "A3"):
        workbook.active[cell].number_format = "000000"
    workbook.save(home / "list.xlsx")
    assert reasons_by_row(run, home, home / "list.xlsx") == {"2": "zero-padded", "3": ASKED, "4": ASKED, "5": ASKED}
