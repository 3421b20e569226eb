"""`pacs send` shows counts and an exit code, and names files only in the file given by `--failed`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors.base import ExitCode
from site_node.network.arrivals import Arrivals
from site_node.network.scp import serving
from site_node.settings.dimse import ScpSettings
from tests.factories.dicom import make_ct, write_file
from tests.factories.pacs import key_of
from tests.factories.ports import free_port

Run = Callable[..., tuple[int, str, str]]
SLICES = 3


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A study, and beside it a file that is not DICOM."""
    folder = tmp_path / "source"
    folder.mkdir()
    for number, dataset in enumerate(make_ct(slices=SLICES, rows=16)):
        write_file(dataset, folder / f"{number}.dcm")
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_the_command_counts_and_names_no_file(run: Run, source: Path, tmp_path: Path) -> None:
    """Only counts on the screen; the failed files are named only in the file of `--failed`."""
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
        code, text, error = run(*words)
        assert (code, f"{SLICES} of {SLICES}" in text, error) == (0, True, "")
        (source / "0.dcm").write_bytes((source / "0.dcm").read_bytes()[:200])
        code, text, error = run(*words, "--json")
    assert code == ExitCode.PARTIAL
    report = json.loads(text)
    assert (report["files"], report["sent"], report["failed"], report["others"]) == (SLICES, SLICES - 1, 1, 1)
    assert report["reasons"] == {"unreadable": 1}
    assert (tmp_path / "failed.tsv").read_text() == f"unreadable\t{source / '0.dcm'}\n"
    assert "0.dcm" not in text + error


@pytest.mark.parametrize("words", [("--to", "host"), ("--to", "host:1"), ("--ae", "A"), ("--to", "h:0", "--ae", "A")])
def test_an_incomplete_destination_is_refused(run: Run, source: Path, words: tuple[str, ...]) -> None:
    code, _, text = run("pacs", "send", source, *words)
    assert (code, "--to host:port --ae TITLE" in text) == (ExitCode.USAGE, True)


def test_without_a_destination_in_the_settings_nothing_is_sent(run: Run, source: Path, tmp_path: Path) -> None:
    assert run("--home", tmp_path / "home", "init", "--name", "General")[0] == 0
    code, _, text = run("--home", tmp_path / "home", "pacs", "send", source)
    assert (code, "`send`" in text) == (ExitCode.USAGE, True)
