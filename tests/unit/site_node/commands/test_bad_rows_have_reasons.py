"""Lists of accession numbers as people keep them: each bad row has its reason, and the rest is asked for."""

import json
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from openpyxl import Workbook

from shared.errors import ExitCode
from site_node.network.arrivals import Arrivals
from site_node.network.scp import serving
from site_node.settings.dimse import ScpSettings
from tests.factories.pacs import free_port, key_of
from tests.unit.site_node.commands.conftest import Run

ASKED = "pacs-unreachable"  # how a good row ends here, where no PACS is


@pytest.fixture
def home(tmp_path: Path, run: Run) -> Path:
    """A home whose PACS is not there."""
    assert run("--home", tmp_path / "home", "init", "--name", "General")[0] == 0
    with (tmp_path / "home" / "site.toml").open("a") as file:
        file.write(f'\n[pacs]\nhost = "127.0.0.1"\nport = {free_port()}\nae_title = "PACS"\nattempts = 1\n')
    return tmp_path / "home"


def book(file: Path, *rows: list[object], merge: Sequence[str] = ()) -> Path:
    made = Workbook()
    assert made.active is not None
    for row in rows:
        made.active.append(row)
    for one in merge:
        made.active.merge_cells(one)
    made.save(file)
    return file


def ended(run: Run, home: Path, file: Path, *more: str) -> dict[str, str]:
    """Each row that ended with a reason."""
    code, said, _ = run("--home", home, "receive", "--accessions", file, *more, "--json")
    assert code == ExitCode.PARTIAL
    rows = json.loads(said)["rows"]
    assert isinstance(rows, dict)
    return rows


def test_formulas_merged_cells_and_repeated_headings_are_told_by_row(run: Run, home: Path) -> None:
    """No stored result is trusted, no merged cell belongs to a row, and a heading is asked of no PACS."""
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
    assert ended(run, home, file, "--patient-column", "MRN") == {
        "3": "heading-row", "4": ASKED, "5": "formula", "6": "merged", "7": "merged", "8": "formula", "9": ASKED,
    }  # fmt: skip


def test_text_files_hold_formulas_too(run: Run, home: Path) -> None:
    """`="0012"` is how programs keep zeros; any other formula is told."""
    (home / "list.csv").write_text('Accession,x\n"=""0012""",1\n=A2,2\n0012,3\n')
    assert ended(run, home, home / "list.csv") == {"2": ASKED, "3": "formula", "4": "duplicate-in-list"}


@pytest.mark.parametrize("suffix", [".xlsx", ".xls"])
def test_a_list_with_a_password_asks_for_one_without(run: Run, home: Path, suffix: str) -> None:
    """Nothing is asked, and nothing is kept."""
    file = home / f"list{suffix}"
    file.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600) + "EncryptedPackage".encode("utf-16-le"))
    code, _, said = run("--home", home, "receive", "--accessions", file)
    assert (code, "password" in said) == (ExitCode.USAGE, True)
    assert not list((home / "requests").glob("*.jsonl"))


def test_two_columns_that_may_be_meant_are_not_chosen_from(run: Run, home: Path) -> None:
    """A person names one."""
    file = book(home / "list.xlsx", ["Accession", "Accession number"], ["A1", "B1"])
    code, _, said = run("--home", home, "receive", "--accessions", file)
    assert (code, "--column" in said) == (ExitCode.USAGE, True)
    assert ended(run, home, file, "--column", "Accession number") == {"2": ASKED}


def test_a_pacs_that_does_not_know_our_title_is_told_apart_from_one_that_is_away(
    run: Run, home: Path, tmp_path: Path
) -> None:
    """Each row says it; the number is not taken for unknown."""
    port = int(str(tomllib.loads((home / "site.toml").read_text())["pacs"]["port"]))
    (home / "list.txt").write_text("A1\nA2\n")
    other = ScpSettings(host="127.0.0.1", port=port, callers=("ELSE",), ae_title="PACS")
    with serving(other, Arrivals(tmp_path / "other", key_of)):
        assert ended(run, home, home / "list.txt") == {"1": "pacs-refused", "2": "pacs-refused"}


def test_tens_of_thousands_of_rows_are_entered(run: Run, home: Path) -> None:
    """In a closed hour nothing is asked yet; every row is a request, whole and durable."""
    settings = home / "site.toml"
    now = time.localtime()
    hours = f"{(now.tm_hour + 2) % 24:02d}:00-{(now.tm_hour + 3) % 24:02d}:00"
    settings.write_text(settings.read_text() + f'hours = "{hours}"\n')
    rows = "\n".join(f"{number:06d},P{number}" for number in range(20_000))
    (home / "list.csv").write_text(f"Accession,MRN\n{rows}\n000007,P7\n")
    code, said, _ = run("--home", home, "receive", "--accessions", home / "list.csv", "--json")
    asked = json.loads(said)
    assert code == ExitCode.PARTIAL
    assert (asked["requests"], asked["waiting"], asked["rows"]) == (20_000, 20_000, {"20002": "duplicate-in-list"})


def test_zeros_that_only_a_format_shows_are_not_lost(run: Run, home: Path) -> None:
    """12 shown as 0012 is another accession number than 12: a person says which is meant, the other rows go on."""
    made = Workbook()
    assert made.active is not None
    for row in (["Accession"], [12], [123456], [345], ["0012"]):
        made.active.append(row)
    for cell in ("A2", "A3"):
        made.active[cell].number_format = "000000"
    made.save(home / "list.xlsx")
    assert ended(run, home, home / "list.xlsx") == {"2": "zero-padded", "3": ASKED, "4": ASKED, "5": ASKED}
