"""A cohort query from the command to its table, beside `flwr run` of an app that asks each site once and adds up.

Ours: a coordinator and three nodes as their programs, `cohort compute`, the five stages of a secure sum, cells hidden.
Flower's: its programs for as many sites, where each message starts a process. Each command's own start counts.
"""

import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from shared.ids import SiteId
from site_node.federate.policy import POLICY_FILE, write_default_policy
from site_node.home.folder import SiteHome
from tests.benchmarks.commands import PROGRAM
from tests.benchmarks.flower import Stock, stock_flower
from tests.benchmarks.measure import Row, wait_until
from tests.benchmarks.node import COORDINATOR, running
from tests.factories.federation import running_federation
from tests.factories.libraries import library, write

SITES, PATIENTS, PAIRS, ASKS = 3, 40, 2, 3
BETWEEN_SECONDS = 3.0
PROMISED = 10.0
ASK_SECONDS = 120
CLIENT = """
from flwr.app import Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()
app.query()(lambda message, context: Message(RecordDict({"counts": MetricRecord({"n": 1})}), reply_to=message))
"""
SERVER = """
from pathlib import Path
import time
from flwr.app import Message, MetricRecord, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()

@app.main()
def main(grid, context):
    while len(nodes := list(grid.get_node_ids())) < context.run_config["sites"]:
        time.sleep(0.2)
    nothing = RecordDict({"counts": MetricRecord({"n": 0})})
    asked = [Message(nothing, dst_node_id=node, message_type="query") for node in nodes]
    answers = [reply.content["counts"]["n"] for reply in grid.send_and_receive(asked)]
    assert len(answers) == len(nodes)
    Path(context.run_config["answer"]).write_text(str(sum(answers)))
"""


def rows() -> list[Row]:
    """Both commands in turns, each alone on the machine: the programs of neither are quite idle between two."""
    seconds: dict[str, list[float]] = {"ours": [], "stock": []}
    for _ in range(PAIRS):
        with TemporaryDirectory() as folder, hospitals(Path(folder)) as home:
            seconds["ours"] += timed(partial(ask_ours, home))
        with TemporaryDirectory() as folder, stock_flower(Path(folder), SITES) as stock:
            ask_stock(stock)  # what is only there once is not counted
            seconds["stock"] += timed(partial(ask_stock, stock))
    own, other = statistics.median(seconds["ours"]), statistics.median(seconds["stock"])
    what = f"a query of {SITES} sites, from command to table"
    return [Row(what, 1 / own, "queries/s", f"flwr run: {other:.1f} s", other / own, PROMISED)]


def timed(ask: Callable[[], object]) -> list[float]:
    """Seconds of each of a few asks."""
    seconds = []
    for _ in range(ASKS):
        start = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - start)
        time.sleep(BETWEEN_SECONDS)  # the processes of a run end after its answer
    return seconds


@contextmanager
def hospitals(folder: Path) -> Iterator[Path]:
    """A coordinator that serves and nodes that run; yields the coordinator's home."""
    with running_federation(folder) as federation:
        federation.curator()
        sites = [federation.site(f"Hospital {number}") for number in range(SITES)]
        coordinator = federation.home.folder
    for site, member in sites:
        prepare(site, member.site_id)
    with ExitStack() as stack:
        stack.enter_context(running(COORDINATOR, coordinator, "serve"))
        for site, _ in sites:
            stack.enter_context(running(PROGRAM, site.folder, "run"))
        wait_until(lambda: answered(coordinator), ASK_SECONDS)
        yield coordinator


def prepare(site: SiteHome, name: SiteId) -> None:
    """A policy and studies to count."""
    write_default_policy(site.folder / POLICY_FILE)
    write(site.library, library(name, PATIENTS))


def command(coordinator: Path) -> list[str]:
    """The query as a person types it."""
    return [*COORDINATOR, "--home", str(coordinator), "cohort", "compute", "--minutes", "1"]


def answered(coordinator: Path) -> bool:
    """Whether a query gets its table: a node may still start."""
    return subprocess.run(command(coordinator), check=False, capture_output=True, timeout=ASK_SECONDS).returncode == 0


def ask_ours(coordinator: Path) -> None:
    """One query, its table printed."""
    subprocess.run(command(coordinator), check=True, capture_output=True, timeout=ASK_SECONDS)


def ask_stock(stock: Stock) -> None:
    """One run of the app."""
    stock.run(CLIENT, SERVER, sites=SITES)
