"""Our engine at the centre in this process, and its sites: each a process with the node's client and its worker.

A fork of the worker answers each message as `tests.benchmarks.echo` says, or another module's `worker`. The main port
is left out: a site hears of work by the word that wakes the port's open call.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key
from flwr.app import ConfigRecord, Message, RecordDict

from coordinator.federation.interface import RegisteredNode
from coordinator.federation.notices import Notices
from coordinator.federation.superlink import OpenRun, SuperLink, SuperLinkSettings
from coordinator.store.signals import FolderSignals
from shared.agreement import Mode
from shared.crypto.keys import load_flower_public
from shared.crypto.signing import SigningKey
from shared.federation import records
from shared.federation.bundle import build_bundle
from shared.federation.plan import PlanRequest, complete_plan, sign_plan
from shared.federation.task import TrainingTask
from shared.ids import SiteId
from site_node.federate.site import FederateSettings
from tests.benchmarks.measure import wait_until
from tests.factories.ports import free_ports
from tests.factories.site_homes import PROTOCOL, make_site, member_of
from tests.factories.tls import make_tls_files

KINDS = ("train", "evaluate")
START_SECONDS = 300  # in which the sites sign on
ROUND_SECONDS = 300


class Centre(NamedTuple):
    """The engine with a run, whose sites are all online; `key` signs plans."""

    run: OpenRun
    superlink: SuperLink
    sites: list[FederateSettings]
    key: SigningKey

    def under_plan(self, content: RecordDict) -> RecordDict:
        """The content with a signed plan, since a site enters whose plan each answer is for."""
        request = PlanRequest(purpose="training", training=TrainingTask())
        plan = complete_plan(request, members=tuple(map(member_of, self.sites)), protocol_digest=PROTOCOL)
        config = ConfigRecord({records.PLAN: sign_plan(plan, self.key)})
        return RecordDict({**content, records.CONFIG: config})


class Registry:
    """Every site may take part."""

    def __init__(self, sites: list[FederateSettings]) -> None:
        self._nodes = {
            site.site_id: RegisteredNode(public_key=public_pem(site.node_key), fingerprint="") for site in sites
        }

    def nodes(self, modes: tuple[Mode, ...]) -> dict[SiteId, RegisteredNode]:
        """All of them."""
        del modes
        return self._nodes


def public_pem(node_key: Path) -> bytes:
    """The public half of a node's key."""
    public = load_ssh_public_key(load_flower_public(node_key).encode())
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@contextmanager
def engine(folder: Path, sites: int, worker: str = "tests.benchmarks.echo") -> Iterator[Centre]:
    """The centre and its sites, which end with the block."""
    tls, [port], key = make_tls_files(folder), free_ports(1), SigningKey.generate()
    homes = [
        make_site(folder / str(n), str(300000 + n), key, images=0, fleet_address=f"127.0.0.1:{port}").model_copy(
            update={"root": tls.authority}
        )
        for n in range(sites)
    ]
    settings = SuperLinkSettings(
        folder=folder / "engine", host="127.0.0.1", port=port, certificate=tls.certificate, key=tls.key
    )
    signals, command = folder / "signals", [sys.executable, "-m", "tests.benchmarks.echo"]
    with (
        SuperLink(settings, Registry(homes), Notices(FolderSignals(signals))) as superlink,
        superlink.run(build_bundle()) as run,
        ExitStack() as stack,
    ):
        for home in homes:
            words = [*command, home.model_dump_json(), str(signals), worker]
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.terminate)  # it ends its worker
        wait_until(lambda: len(list(run.grid.get_node_ids())) == sites, START_SECONDS)
        yield Centre(run, superlink, homes, key)


def seconds_of(centre: Centre, content: Callable[[], RecordDict]) -> float:
    """Seconds of a round: of each kind a message to each site, and every reply."""
    start = time.perf_counter()
    for kind in KINDS:
        exchange(centre, kind, content())
    return time.perf_counter() - start


def exchange(centre: Centre, kind: str, content: RecordDict) -> list[Message]:
    """A message to each site that is online, and every reply. Raises `TimeoutError`, or `ValueError` for a refusal."""
    late, replies = time.monotonic() + ROUND_SECONDS, list[Message]()
    grid, content = centre.run.grid, centre.under_plan(content)
    asked = [Message(content, dst_node_id=node, message_type=kind) for node in grid.get_node_ids()]
    waiting = set(grid.push_messages(asked))
    while waiting:
        arrived = list(grid.pull_messages(waiting))
        waiting -= {reply.metadata.reply_to_message_id for reply in arrived}
        replies += arrived
        if any(reply.has_error() for reply in arrived):
            raise ValueError(next(reply.error.reason for reply in arrived if reply.has_error()))
        if time.monotonic() > late:
            raise TimeoutError
        if waiting and not arrived:
            grid.wait(1)
    return replies
