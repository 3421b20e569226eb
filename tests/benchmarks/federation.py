"""A round in which nobody computes anything: two messages to each site and back, beside Flower as it is installed.

Each site sends back what it got: next to nothing, or a model of 100 MB. Ours go under TLS and node keys, and each is
answered by a fork of a worker without a network; Flower's go without TLS and keys, each to a process of its own.
"""

import json
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict

from tests.benchmarks.engine import engine, seconds_of
from tests.benchmarks.flower import stock_flower
from tests.benchmarks.measure import Row

# Sites and megabytes of the model: how often the pair is measured in turn, rounds of each time, the promised ratio.
PAIRS = {(4, 0): (2, 2, 20.0), (16, 0): (1, 2, 20.0), (4, 100): (3, 2, 4.0)}
CLIENT = """
from flwr.app import Message
from flwr.clientapp import ClientApp

app = ClientApp()
app.train()(lambda message, context: Message(message.content, reply_to=message))
app.evaluate()(lambda message, context: Message(message.content, reply_to=message))
"""
SERVER = """
import json
import time
from pathlib import Path
import numpy as np
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()

@app.main()
def main(grid, context):
    config, seconds = context.run_config, []
    while len(list(grid.get_node_ids())) < config["sites"]:
        time.sleep(0.2)
    for _ in range(config["rounds"]):
        start = time.perf_counter()
        for kind in ("train", "evaluate"):
            nodes = list(grid.get_node_ids())
            numbers = np.random.default_rng().integers(256, size=config["size"], dtype=np.uint8)
            model = RecordDict({"model": ArrayRecord({"model": Array(numbers)})})
            asked = [Message(model, dst_node_id=node, message_type=kind) for node in nodes]
            assert len(list(grid.send_and_receive(asked))) == len(nodes)
        seconds.append(time.perf_counter() - start)
    Path(config["answer"]).write_text(json.dumps(seconds))
"""


def rows() -> list[Row]:
    """A round of each number of sites and size of model."""
    table = []
    for (sites, megabytes), (pairs, rounds, promised) in PAIRS.items():
        seconds: dict[str, list[float]] = {"ours": [], "stock": []}
        for _ in range(pairs):
            seconds["ours"] += our_rounds(sites, megabytes, rounds)
            seconds["stock"] += stock_rounds(sites, megabytes, rounds)
        ours, stock = statistics.median(seconds["ours"]), statistics.median(seconds["stock"])
        what = f"a round of {sites} sites, {megabytes} MB"
        table.append(Row(what, 1 / ours, "rounds/s", f"flower-supernode: {stock:.1f} s", stock / ours, promised))
    return table


def our_rounds(sites: int, megabytes: int, rounds: int) -> list[float]:
    """Seconds of each round of ours."""
    with TemporaryDirectory() as folder, engine(Path(folder), sites) as centre:
        return [seconds_of(centre, lambda: model(megabytes)) for _ in range(rounds)]


def stock_rounds(sites: int, megabytes: int, rounds: int) -> list[float]:
    """Seconds of each round of Flower as it is installed."""
    with TemporaryDirectory() as folder, stock_flower(Path(folder), sites) as stock:
        answer = stock.run(CLIENT, SERVER, sites=sites, size=size_of(megabytes), rounds=rounds)
    seconds: list[float] = json.loads(answer)
    return seconds


def model(megabytes: int) -> RecordDict:
    """A model of chance, which no cache knows."""
    numbers = np.random.default_rng().integers(256, size=size_of(megabytes), dtype=np.uint8)
    return RecordDict({"model": ArrayRecord({"model": Array(numbers)})})


def size_of(megabytes: int) -> int:
    """In bytes: one where it is nothing."""
    return megabytes * 1_000_000 or 1
