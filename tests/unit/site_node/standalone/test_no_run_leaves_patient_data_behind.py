"""What a run keeps in the temporary folder ends with it; what a killed run left ends with the next."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import NoDicomFound
from site_node.standalone.scratch import locked, scratch_folder
from tests.unit.site_node.standalone.conftest import Alone

KILLED = """
import os, signal
from site_node.standalone.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "patient").write_text("KELSTRUPOVA")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of this test's own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield folder
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_a_run_leaves_nothing(alone: Alone, source: Path, temporary: Path) -> None:
    """Neither at its end, nor at an error."""
    alone()
    assert not list(temporary.iterdir())
    (source / "good.dcm").write_text("letter")
    with pytest.raises(NoDicomFound):
        alone()
    assert not list(temporary.iterdir())


def test_what_a_killed_run_left_goes_with_the_next(temporary: Path) -> None:
    """Of a run that goes on, nothing is removed."""
    subprocess.run([sys.executable, "-c", KILLED], check=False)
    (left,) = temporary.iterdir()
    assert (left / "patient").exists()
    with scratch_folder() as first:
        assert not left.exists()
        with scratch_folder() as second:
            assert first.exists()
            assert first != second
            with pytest.raises(BlockingIOError), locked(first):
                pass
    assert not list(temporary.iterdir())
