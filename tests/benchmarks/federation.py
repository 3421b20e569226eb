"""A round in which nobody computes anything: two messages to each site and back, beside Flower as it is installed.

Each site sends back what it got: next to nothing, or a model of 100 MB.

Ours: the engine at the centre under TLS and node keys, each site Flower's own client on a thread of another process.
Flower's: `flower-superlink`, a `flower-supernode` for each site and `flwr run`, without TLS and keys, which cost more.
"""

import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree, iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supernode.fleet_http_connection import http_request_response

from coordinator.federation.interface import RegisteredNode
from coordinator.federation.link_grid import LinkGrid
from coordinator.federation.listener import listen
from coordinator.federation.notices import Notices
from coordinator.federation.superlink import SuperLink, SuperLinkSettings
from coordinator.store.signals import FolderSignals
from shared.agreement import Mode
from shared.crypto.keys import load_flower_public, make_flower
from shared.federation.bundle import build_bundle
from shared.ids import SiteId
from tests.benchmarks.measure import Row
from tests.factories.tls import make_tls_files

ROUNDS = 5
STOCK_SECONDS = 900
ROUND = {(4, 0): 20.0, (16, 0): 20.0, (4, 100): 4.0}  # sites, and megabytes of the model: the ratio that is promised
KINDS = ("train", "evaluate")
_APP = {
    "LICENSE": "MIT",
    "noop/__init__.py": "",
    "noop/client.py": """
from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()
app.train()(lambda message, context: Message(message.content, reply_to=message))
app.evaluate()(lambda message, context: Message(message.content, reply_to=message))
""",
    "noop/server.py": """
import time
from pathlib import Path
import numpy as np
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()

@app.main()
def main(grid, context):
    while len(list(grid.get_node_ids())) < context.run_config["sites"]:
        time.sleep(0.2)
    start = time.perf_counter()
    for kind in ("train", "evaluate"):
        nodes = list(grid.get_node_ids())
        numbers = np.random.default_rng().integers(256, size=context.run_config["size"], dtype=np.uint8)
        model = ArrayRecord({"model": Array(numbers)})
        asked = [Message(RecordDict({"model": model}), dst_node_id=node, message_type=kind) for node in nodes]
        assert len(list(grid.send_and_receive(asked))) == len(nodes)
    Path(context.run_config["seconds"]).write_text(str(time.perf_counter() - start))
""",
    "pyproject.toml": """
[project]
name = "noop"
version = "1.0.0"
description = "Nothing."
license = { file = "LICENSE" }
dependencies = ["flwr>=1.42.0"]

[tool.flwr.app]
publisher = "bench"
fab-format-version = 1
flwr-version-target = "1.42.0"
fab-include = ["noop/*.py", "LICENSE"]
components = { serverapp = "noop.server:app", clientapp = "noop.client:app" }
config = { sites = 0, size = 0, seconds = "" }
""",
}


def rows() -> list[Row]:
    """A round of each number of sites and size of model."""
    table = []
    for (sites, megabytes), promised in ROUND.items():
        ours, stock = our_round(sites, megabytes), stock_round(sites, megabytes)
        what = f"a round of {sites} sites, {megabytes} MB"
        table.append(Row(what, 1 / ours, "rounds/s", f"flower-supernode: {stock:.1f} s", stock / ours, promised))
    return table


def our_round(sites: int, megabytes: int) -> float:
    """Median seconds of a round."""
    with TemporaryDirectory() as where, engine(Path(where), sites) as superlink, superlink.run(build_bundle()) as run:
        while len(nodes := list(run.grid.get_node_ids())) < sites:
            run.grid.wait(1)
        seconds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for kind in KINDS:
                exchange(run.grid, nodes, kind, megabytes)
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def exchange(grid: LinkGrid, nodes: list[int], kind: str, megabytes: int) -> None:
    """A message to each node, and every reply."""
    model = np.random.default_rng().integers(256, size=megabytes * 1_000_000 or 1, dtype=np.uint8)
    content = RecordDict({"model": ArrayRecord({"model": Array(model)})})
    waiting = set(grid.push_messages([Message(content, dst_node_id=node, message_type=kind) for node in nodes]))
    while waiting:
        waiting -= {reply.metadata.reply_to_message_id for reply in grid.pull_messages(waiting)}
        if waiting:
            grid.wait(1)


class Registry:
    """Every node may take part."""

    def __init__(self, folder: Path, sites: int) -> None:
        for number in range(sites):
            make_flower(folder / f"{number}.pem")
        self._nodes = {
            SiteId(str(300000 + number)): RegisteredNode(public_key=pem(folder / f"{number}.pem"), fingerprint="")
            for number in range(sites)
        }

    def nodes(self, modes: tuple[Mode, ...]) -> dict[SiteId, RegisteredNode]:
        """All of them."""
        del modes
        return self._nodes


def pem(node_key: Path) -> bytes:
    """The public half of a node's key."""
    public = load_ssh_public_key(load_flower_public(node_key).encode())
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@contextmanager
def engine(folder: Path, sites: int) -> Iterator[SuperLink]:
    """The centre's engine, and its sites in another process."""
    registry, tls = Registry(folder, sites), make_tls_files(folder)
    with listen("127.0.0.1", 0) as probe:
        port = probe.getsockname()[1]
    settings = SuperLinkSettings(
        folder=folder / "engine", host="127.0.0.1", port=port, certificate=tls.certificate, key=tls.key
    )
    signals = FolderSignals(folder / "signals")
    arguments = [str(folder), str(tls.authority), str(port), str(sites)]
    with (
        SuperLink(settings, registry, Notices(signals)) as superlink,
        subprocess.Popen([sys.executable, "-m", "tests.benchmarks.federation", *arguments]) as process,
    ):
        try:
            yield superlink
        finally:
            process.kill()


def serve_sites(folder: Path, root: Path, port: int, sites: int) -> None:
    """Answer every message, each site on a thread, until this process is killed."""
    notices = Notices(FolderSignals(folder / "signals"))

    def answer(number: int) -> None:
        waits = threading.Event()
        notices.subscribe(SiteId(str(300000 + number)), lambda _: waits.set())
        key = cast("ec.EllipticCurvePrivateKey", load_ssh_private_key((folder / f"{number}.pem").read_bytes(), None))
        with http_request_response(
            f"127.0.0.1:{port}",
            insecure=False,
            root_certificates=str(root),
            authentication_keys=(key, key.public_key()),
        ) as fleet:
            while True:
                waits.clear()
                while answered(*fleet):
                    pass
                waits.wait(1)

    with notices.listening():
        threads = [threading.Thread(target=answer, args=(number,)) for number in range(sites)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def answered(node: int, receive: Any, send: Any, *parts: Any) -> bool:
    """Send the next message's content back; whether there was a message."""
    if (received := receive()) is None:
        return False
    del node
    *_, pull_object, push_object, confirm = parts
    message, tree = received
    run, name = message.metadata.run_id, message.metadata.message_id
    objects = {each.object_id: pull_object(run, each.object_id) for each in iterate_object_tree(tree)}
    confirm(run, name)
    asked = cast("Message", inflate_object_from_contents(name, objects))
    asked.metadata.__dict__["_message_id"] = name
    reply = Message(asked.content, reply_to=asked)
    reply.metadata.__dict__["_message_id"] = reply.object_id
    missing, session = send(reply, get_object_tree(reply), 0.0)
    for part, each in get_all_nested_objects(reply).items():
        if part in missing:
            push_object(run, session, part, each.deflate())
    return True


def stock_round(sites: int, megabytes: int) -> float:
    """Seconds of a round of Flower as it is installed."""
    with TemporaryDirectory() as where, stock_flower(Path(where), sites, megabytes) as seconds:
        late = time.monotonic() + STOCK_SECONDS
        while not seconds.is_file() or not seconds.read_text(encoding="utf-8"):
            assert time.monotonic() < late
            time.sleep(0.5)
        return float(seconds.read_text(encoding="utf-8"))


def listens(port: int) -> bool:
    """Whether somebody listens on a port of this host."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def stock_flower(folder: Path, sites: int, megabytes: int) -> Iterator[Path]:
    """Its programs; yields the file that its ServerApp writes in the end."""
    for name, text in _APP.items():
        (folder / "app" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "app" / name).write_text(text, encoding="utf-8")
    with listen("127.0.0.1", 0) as first, listen("127.0.0.1", 0) as second:
        port, low = first.getsockname()[1], second.getsockname()[1]
    (folder / "config.toml").write_text(
        f'[superlink]\ndefault = "bench"\n[superlink.bench]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    environment = os.environ | {"FLWR_HOME": str(folder), "FLWR_TELEMETRY_ENABLED": "0"}
    environment |= {"FLWR_DISABLE_UPDATE_CHECK": "1", "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1"}
    programs = list[subprocess.Popen[bytes]]()

    def start(*command: str) -> None:
        program = str(Path(sys.executable).with_name(command[0]))
        log = (folder / f"{len(programs)}.log").open("wb")
        programs.append(subprocess.Popen([program, *command[1:]], env=environment, stdout=log, stderr=log))

    superlink = f"127.0.0.1:{port}"
    seconds = folder / "seconds"
    try:
        start("flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port))
        for number in range(sites):
            own = ("--host", "127.0.0.1", "--port", str(low + number))
            start("flower-supernode", "--insecure", "--superlink", superlink, *own)
        while not listens(port):
            time.sleep(0.5)
        settings = f"sites={sites} size={megabytes * 1_000_000 or 1} seconds='{seconds}'"
        start("flwr", "run", str(folder / "app"), "bench", "--run-config", settings)
        yield seconds
    finally:
        for program in programs:
            program.terminate()
        for program in programs:
            program.wait()


if __name__ == "__main__":
    serve_sites(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
