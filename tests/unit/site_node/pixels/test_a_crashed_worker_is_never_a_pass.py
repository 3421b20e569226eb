"""The worker process: a crash, silence or nonsense is never a pass, and what it saw is shown to its owner only."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from compose.sample import films
from shared.errors.settings import PixelCheckUnavailable
from shared.errors.studies import PixelCheckFailed, PixelsUnreadable
from site_node.pixels.client import WORKER, PixelChecker
from site_node.pixels.frame import Frame, Stack
from tests.factories.dicom import make_dx, write_file

pytestmark = pytest.mark.slow

READY = "import sys; print('{\"ready\": true}', flush=True); sys.stdin.readline(); "


def alone(path: Path) -> Stack:
    return Stack((Frame(path, 0),))


def test_text_is_found_and_drawn_for_the_person_alone(tmp_path: Path) -> None:
    """The real worker, one file with a name in it and one without; the picture is 0600."""
    import numpy as np

    clean = films.frontal(np.random.default_rng(1), 256, positive=False)
    marked = films.mark(clean, "DOE JANE 1961", (0.05, 0.05), 0.06)
    files = []
    for name, image in (("clean", clean), ("marked", marked)):
        dataset = make_dx(rows=256)
        dataset.PixelData = (image * 4000).astype(np.uint16).tobytes()
        files.append(write_file(dataset, tmp_path / name))
    picture = tmp_path / "picture.png"
    with PixelChecker() as checker:
        assert checker.check(alone(files[0]), [picture]) == [()]
        assert not picture.exists()
        assert checker.check(Stack((Frame(files[0], 0, declares_text=True),)), [picture]) == [()]
        assert picture.exists(), "a person sees what the file declares to hold text"
        (boxes,) = checker.check(alone(files[1]), [picture])
        assert isinstance(boxes, tuple)
        assert boxes
        assert picture.stat().st_mode & 0o777 == 0o600
        with Image.open(picture) as drawn:
            assert drawn.mode == "RGB"
        (problem,) = checker.check(alone(tmp_path / "none"))
        assert isinstance(problem, PixelsUnreadable)


def test_the_worker_keeps_no_note_of_its_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library that runs the models would note each session beneath the account's home, to send it to its makers."""
    account = tmp_path / "account"
    for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR"):
        (account / name).mkdir(parents=True)
        monkeypatch.setenv(name, str(account / name))
    with PixelChecker() as checker:
        assert checker.check(alone(write_file(make_dx(rows=64), tmp_path / "film"))) == [()]
        assert [path for path in account.rglob("*") if path.is_file()] == []
    assert [path for path in account.rglob("*") if path.is_file()] == []


def test_the_worker_loads_nothing_to_fetch_files_with() -> None:
    """Not even what pydicom would load: it opens no connection, and is ready sooner."""
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", *WORKER[1:]], check=True, input="", capture_output=True, text=True
    )
    assert ended.stdout == '{"ready": true}\n'
    loaded = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "pydicom.data.download" in loaded
    assert not loaded & {"urllib3", "tqdm.std"}


@pytest.mark.parametrize(
    "then",
    ["sys.exit(1)", "print('nonsense', flush=True)", "print('[]', flush=True)", "import time; time.sleep(60)"],
    ids=["dies", "nonsense", "no answer", "silent"],
)
def test_a_worker_that_does_not_answer_is_not_a_pass(tmp_path: Path, then: str) -> None:
    """Tried once more with a new worker, then the study stops."""
    with PixelChecker((sys.executable, "-c", READY + then), patience=0.5) as checker:
        (problem,) = checker.check(alone(tmp_path / "any"))
        assert isinstance(problem, PixelCheckFailed)


@pytest.mark.parametrize(
    "says", ["", 'print(\'{"problem": "pixel-check-unavailable"}\')'], ids=["nothing", "a problem"]
)
def test_a_worker_that_cannot_start_stops_the_node(tmp_path: Path, says: str) -> None:
    """Without models nothing can be looked for, and nothing may go on as if it had been."""
    with PixelChecker((sys.executable, "-c", says)) as checker, pytest.raises(PixelCheckUnavailable):
        checker.check(alone(tmp_path / "any"))
