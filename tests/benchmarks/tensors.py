"""A model of 727 tensors, as many as DenseNet-121 has, beside one tensor of the same size: a round of four sites.

Both travel as one array, so what the many can cost is cutting it up and putting it together, at both ends.
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from shared.federation.records import pack, unpack
from tests.benchmarks.echo import TENSORS
from tests.benchmarks.engine import KINDS, Centre, engine, exchange
from tests.benchmarks.measure import Row, medians

SITES, TENSORS_OF_A_MODEL, NUMBERS = 4, 727, 11_000  # numbers of each tensor: 32 MB in all
ROUNDS = 5


def rows() -> list[Row]:
    """Both, in turns with the same sites."""
    with TemporaryDirectory() as folder, engine(Path(folder), SITES) as centre:
        seconds = medians(
            {"one": partial(play, centre, 1), "many": partial(play, centre, TENSORS_OF_A_MODEL)}, rounds=ROUNDS
        )
    single, many = seconds["one"], seconds["many"]
    what = f"a round of {SITES} sites, {TENSORS_OF_A_MODEL} tensors of 32 MB"
    return [Row(what, 1 / many, "rounds/s", f"one tensor: {single:.2f} s", single / many, 1 / 1.5)]


def play(centre: Centre, tensors: int) -> None:
    """A round with a model of so many tensors."""
    each = TENSORS_OF_A_MODEL * NUMBERS // tensors
    model = {str(place): np.random.default_rng().random(each, np.float32) for place in range(tensors)}
    shapes = {name: array.shape for name, array in model.items()}
    for kind in KINDS:
        content = RecordDict(
            {
                "model": ArrayRecord({"model": Array(pack(model))}),
                TENSORS: ConfigRecord({"number": tensors}),
            }
        )
        for reply in exchange(centre, kind, content):
            unpack(reply.content["model"]["model"].numpy(), shapes)
