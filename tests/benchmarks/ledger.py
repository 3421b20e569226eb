"""The ledger's table of patients with a million of them: looking one up costs about what it does with ten thousand."""

import hashlib
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from site_node.home.ledger import Ledger
from site_node.home.patients import PatientRow
from tests.benchmarks.measure import Row, medians

FEW, MANY = 10_000, 1_000_000
LOOKUPS = 20_000
_LINK = bytes(120)  # about what a sealed link takes
_WORST = 1 / 1.5  # a million may make a lookup this much of the rate with ten thousand


def rows() -> list[Row]:
    """Lookups of known patients, as each study makes them, at both sizes; and what a new patient costs."""
    with tempfile.TemporaryDirectory(prefix="ricord-bench-") as folder, ExitStack() as stack:
        ledgers = {size: Ledger(Path(folder) / f"{size}.sqlite") for size in (FEW, MANY)}
        for size, ledger in ledgers.items():
            stack.callback(ledger.close)
            ledger.patients.add(_patients(size))
        looking: dict[str, Callable[[], float | None]] = {
            f"{size}": partial(_look_up, ledger, size) for size, ledger in ledgers.items()
        }
        seconds = medians(looking, turns=5)
        adding = medians({f"{size}": partial(_add, ledger, size) for size, ledger in ledgers.items()}, turns=3)
    few, many = seconds[f"{FEW}"], seconds[f"{MANY}"]
    return [
        Row(f"ledger of {FEW:,} patients, lookup", LOOKUPS / few, "/s", "itself", 1.0),
        Row(f"ledger of {MANY:,} patients, lookup", LOOKUPS / many, "/s", f"{FEW:,} patients", few / many, _WORST),
        Row(
            f"ledger of {MANY:,} patients, new one",
            _NEW / adding[f"{MANY}"],
            "/s",
            f"{FEW:,} patients",
            adding[f"{FEW}"] / adding[f"{MANY}"],
        ),
    ]


_NEW = 50


def _token(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(8, "big")).digest()


def _patients(size: int) -> Iterator[PatientRow]:
    """Rows in order of token, which a tree takes fastest."""
    tokens = sorted((_token(number), number) for number in range(1, size + 1))
    return (PatientRow(token, number, _LINK) for token, number in tokens)


def _look_up(ledger: Ledger, size: int) -> float:
    """Seconds for `LOOKUPS` patients drawn at random; the tokens are made beforehand."""
    draw = random.Random(size)
    wanted = [_token(draw.randint(1, size)) for _ in range(LOOKUPS)]
    start = time.perf_counter()
    for token in wanted:
        ledger.number(token, bytes)
    return time.perf_counter() - start


def _add(ledger: Ledger, size: int) -> float:
    """Seconds for new patients, each in a transaction of its own that is on the disk when it ends."""
    draw = random.Random()
    wanted = [_token(size + draw.getrandbits(60)) for _ in range(_NEW)]
    start = time.perf_counter()
    for token in wanted:
        ledger.number(token, lambda: _LINK)
    return time.perf_counter() - start
