"""`pacs send`: counts for the screen, an exit code, and no file named where nobody asked for it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import ExitCode
from site_node.network.arrivals import Arrivals
from site_node.network.scp import serving
from site_node.settings.dimse import ScpSettings
from tests.factories.dicom import make_ct, write_file
from tests.factories.pacs import free_port, key_of

Run = Callable[..., tuple[int, str, str]]
SLICES = 3


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A study, and beside it what is no DICOM."""
    folder = tmp_path / "source"
    folder.mkdir()
    for number, one in enumerate(make_ct(slices=SLICES, rows=16)):
        write_file(one, folder / f"{number}.dcm")
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_the_command_counts_and_names_no_file(run: Run, source: Path, tmp_path: Path) -> None:
    """Counts for the screen; which files failed stands only where the person wanted it."""
    port = free_port()
    settings = ScpSettings(host="127.0.0.1", port=port, callers=("RICORD",), min_free_mb=0)
    with serving(settings, Arrivals(tmp_path / "pacs", key_of)):
        words = (
            "pacs",
            "send",
            source,
            "--to",
            f"127.0.0.1:{port}",
            "--ae",
            "RICORD",
            "--failed",
            tmp_path / "failed.tsv",
        )
        code, said, error = run(*words)
        assert (code, f"{SLICES} of {SLICES}" in said, error) == (0, True, "")
        (source / "0.dcm").write_bytes((source / "0.dcm").read_bytes()[:200])
        code, said, error = run(*words, "--json")
    assert code == ExitCode.PARTIAL
    told = json.loads(said)
    assert (told["files"], told["sent"], told["failed"], told["others"]) == (SLICES, SLICES - 1, 1, 1)
    assert told["reasons"] == {"unreadable": 1}
    assert (tmp_path / "failed.tsv").read_text() == f"unreadable\t{source / '0.dcm'}\n"
    assert "0.dcm" not in said + error


@pytest.mark.parametrize("words", [("--to", "host"), ("--to", "host:1"), ("--ae", "A"), ("--to", "h:0", "--ae", "A")])
def test_where_to_is_said_whole(run: Run, source: Path, words: tuple[str, ...]) -> None:
    code, _, said = run("pacs", "send", source, *words)
    assert (code, "--to host:port --ae TITLE" in said) == (ExitCode.USAGE, True)


def test_without_a_place_in_the_settings_nothing_is_sent(run: Run, source: Path, tmp_path: Path) -> None:
    assert run("--home", tmp_path / "home", "init", "--name", "General")[0] == 0
    code, _, said = run("--home", tmp_path / "home", "pacs", "send", source)
    assert (code, "`send`" in said) == (ExitCode.USAGE, True)
