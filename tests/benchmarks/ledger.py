"""A lookup in the ledger's table costs about the same among a million patients as among ten thousand."""

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
LOOKUPS, ADDITIONS = 20_000, 50
_LINK = bytes(120)  # about the size of a sealed link
_WORST = 1 / 1.5  # the least rate of lookups among a million, as a share of the rate among ten thousand


def rows() -> list[Row]:
    """Lookups of known patients, as each study makes them, at both sizes; and additions of new patients."""
    with tempfile.TemporaryDirectory(prefix="ricord-bench-") as folder, ExitStack() as stack:
        ledgers = {size: Ledger(Path(folder) / f"{size}.sqlite") for size in (FEW, MANY)}
        for size, ledger in ledgers.items():
            stack.callback(ledger.close)
            ledger.patients.add(_patients(size))
        lookups: dict[str, Callable[[], float | None]] = {
            f"{size}": partial(_look_up, ledger, size) for size, ledger in ledgers.items()
        }
        seconds = medians(lookups, rounds=5)
        additions = medians({f"{size}": partial(_add, ledger, size) for size, ledger in ledgers.items()}, rounds=3)
    few, many = seconds[f"{FEW}"], seconds[f"{MANY}"]
    return [
        Row(f"ledger of {FEW:,} patients, lookup", LOOKUPS / few, "/s", "itself", 1.0),
        Row(f"ledger of {MANY:,} patients, lookup", LOOKUPS / many, "/s", f"{FEW:,} patients", few / many, _WORST),
        Row(
            f"ledger of {MANY:,} patients, new one",
            ADDITIONS / additions[f"{MANY}"],
            "/s",
            f"{FEW:,} patients",
            additions[f"{FEW}"] / additions[f"{MANY}"],
        ),
    ]


def _token(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(8, "big")).digest()


def _patients(size: int) -> Iterator[PatientRow]:
    """Rows in the order of their tokens, the fastest for a B-tree to insert."""
    tokens = sorted((_token(number), number) for number in range(1, size + 1))
    return (PatientRow(token, number, _LINK) for token, number in tokens)


def _look_up(ledger: Ledger, size: int) -> float:
    """Seconds for `LOOKUPS` patients drawn at random; the tokens are made beforehand."""
    draw = random.Random(size)
    tokens = [_token(draw.randint(1, size)) for _ in range(LOOKUPS)]
    start = time.perf_counter()
    for token in tokens:
        ledger.number(token, bytes)
    return time.perf_counter() - start


def _add(ledger: Ledger, size: int) -> float:
    """Seconds to add new patients, each in its own transaction, which is on disk when it ends."""
    draw = random.Random()
    tokens = [_token(size + draw.getrandbits(60)) for _ in range(ADDITIONS)]
    start = time.perf_counter()
    for token in tokens:
        ledger.number(token, lambda: _LINK)
    return time.perf_counter() - start
