"""The search for text in pixels: films beside the search as it was, a CT beside none, and what a worker takes."""

import resource
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image

from compose.sample import films
from shared.crypto.keys import make_secret
from site_node.pixels.client import PixelChecker
from site_node.pixels.frames import choose_stacks
from tests.benchmarks.archives import workspace, write_ct, write_dx
from tests.benchmarks.commands import cpu_seconds, deidentify
from tests.benchmarks.deidentify import PEERS_PYTHON
from tests.benchmarks.measure import Row

FILMS, SLICES = 10, 300
START = 0.4  # seconds of CPU until a worker is ready
MEGABYTES = 1000


def rows() -> list[Row]:
    """Films, a CT, a worker's start and its memory, in seconds of CPU."""
    with workspace() as folder:
        pictures, ct = folder / "films", folder / "ct"
        for archive in (pictures, ct):
            archive.mkdir()
        draw_films(write_dx(pictures, FILMS))
        draw_slices(write_ct(ct, SLICES))
        make_secret(folder / "key")
        start = min(cpu_seconds(partial(search, None)) for _ in range(3))
        ours = cpu_seconds(partial(search, pictures)) - start
        whole, without = (cpu_seconds(partial(deidentified, folder, ct, *more)) for more in ((), ("--no-pixel-check",)))
        table = [
            Row(
                f"search of {SLICES} slices within deidentify, CPU",
                SLICES / whole,
                "slices/s",
                "2.5 times without",
                2.5 * without / whole,
            ),
            Row("start of a search's worker, CPU", start, "s", f"{START} s", START / start),
        ]
        if PEERS_PYTHON.exists():
            command = [str(PEERS_PYTHON), str(Path(__file__).with_name("peer_pixels.py")), str(pictures)]
            before = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            table.append(
                Row(
                    f"search of {FILMS} films of 5 megapixels, CPU",
                    FILMS / ours,
                    "films/s",
                    "rapidocr at half size",
                    before / ours,
                    2.5,
                )
            )
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
        return [
            *table,
            Row("memory of the largest process of these", memory, "MB", f"{MEGABYTES} MB", MEGABYTES / memory),
        ]


def deidentified(folder: Path, source: Path, *options: str) -> None:
    """Run `deidentify`; a false alarm, for which it ends otherwise than well, is not what is measured."""
    with suppress(subprocess.CalledProcessError):
        deidentify(folder, source, *options)


def search(folder: Path | None) -> None:
    """Start a worker, and let it search the files of a folder."""
    with PixelChecker() as checker:
        checker.start()
        for stack in choose_stacks(folder.iterdir()) if folder else ():
            checker.check(stack)


def draw_films(folder: Path) -> None:
    """A thorax of its own and noise on each film."""
    for seed, path in enumerate(sorted(folder.iterdir())):
        rng = np.random.default_rng(seed)
        thorax = Image.fromarray(films.frontal(rng, 1024, positive=bool(seed % 2))).resize((2048, 2500))
        dataset = pydicom.dcmread(path)
        dataset.PixelData = (
            (np.asarray(thorax) * 3500 + 200 + rng.normal(0, 8, (2500, 2048))).astype(np.uint16).tobytes()
        )
        dataset.save_as(path)


def draw_slices(folder: Path) -> None:
    """A thorax that grows from slice to slice, and noise on each."""
    rng = np.random.default_rng(1)
    thorax = Image.fromarray(films.frontal(rng, 512, positive=True) * 1400 + 100)
    for number, path in enumerate(sorted(folder.iterdir())):
        by = 1 / (1 + 0.001 * number)
        moved = np.asarray(thorax.transform((512, 512), Image.Transform.AFFINE, (by, 0, 0, 0, by, 0)))
        dataset = pydicom.dcmread(path)
        dataset.PixelData = (moved + rng.normal(0, 15, (512, 512))).clip(0).astype(np.uint16).tobytes()
        dataset.save_as(path)
