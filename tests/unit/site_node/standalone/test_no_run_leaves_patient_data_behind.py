"""What a run keeps in the temporary folder ends with it; what a killed run left ends with the next."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors.inputs import NoDicomFound
from site_node.standalone.scratch import locked, scratch_folder
from tests.unit.site_node.standalone.conftest import Alone

KILLED = """
import os, signal
from site_node.standalone.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "patient").write_text("KELSTRUPOVA")
    os.kill(os.getpid(), signal.SIGKILL)
"""


ENDED = """
import os, signal, sys
from site_node.standalone.alone import ended_by_signals
from site_node.standalone.scratch import scratch_folder
signal.signal(signal.SIGINT, signal.default_int_handler)
with ended_by_signals(), scratch_folder() as folder:
    (folder / "patient").write_text("KELSTRUPOVA")
    os.kill(os.getpid(), int(sys.argv[1]))
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


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_is_ended_by_a_signal_leaves_nothing(temporary: Path, how: signal.Signals) -> None:
    """However it is ended, but by SIGKILL."""
    ended = subprocess.run([sys.executable, "-c", ENDED, str(how.value)], check=False, capture_output=True)
    assert ended.returncode != 0
    assert b"KeyboardInterrupt" in ended.stderr
    assert not list(temporary.iterdir())
