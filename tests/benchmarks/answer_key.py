"""How much of a MIDI-B style answer key each profile meets, over the kinds of image that it processes."""

from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from shared.protocol.loader import load_profile
from tests.benchmarks.measure import Row
from tests.factories.answer_key import KINDS, make_answer_key
from tests.factories.answer_score import score

SEED = 1
PROMISES = {"tcia": 0.9995, "ricord": None}  # `ricord` removes on purpose what the key wants kept


def rows() -> list[Row]:
    """The score of each profile; what fails is printed by type of action and attribute."""
    table = []
    for name, promised in PROMISES.items():
        kinds = KINDS if name == "tcia" else tuple(kind for kind in KINDS if kind != "MR")
        with TemporaryDirectory() as folder:
            result = score(make_answer_key(SEED, kinds=kinds), load_profile(name), Path(folder))
        Console().print(f"{name}: {result.table()}", markup=False)
        table.append(Row(f"answer key met, {name}", 100 * result.share, "%", "all of it", result.share, promised))
    return table
