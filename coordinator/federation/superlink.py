"""Flower's SuperLink as a part of this process: its LinkState in memory, its Fleet paths on the port for sites.

No listener serves Flower's Control and Runtime paths: runs, nodes and messages are reached by calls. With `link_state`,
`link_grid` and `fleet_port` this is the coordinator's adapter to Flower's internals. Nodes register through us alone,
and who may take part is asked at every message.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from logging import WARNING, getLogger
from pathlib import Path
from typing import NamedTuple, Self

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from flwr.app import Context, RecordDict
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.supercore import telemetry

from coordinator.federation.fleet_port import FleetPort
from coordinator.federation.interface import FEDERATED, NodeRegistry, RegisteredNode
from coordinator.federation.link_grid import LinkGrid
from coordinator.federation.link_state import LARGEST_ANSWER, LinkState
from coordinator.federation.listener import HttpsServer, listen
from coordinator.federation.notices import Notices
from shared.errors.federation import RunFailed
from shared.frozen import Frozen
from shared.ids import SiteId

KNOWN_VERSIONS = ("1.41.0", "1.42.0")


class SuperLinkSettings(Frozen):
    """Where the SuperLink listens and what is kept of runs; `certificate` and `key` are PEM files for `host`."""

    folder: Path
    host: str
    port: int
    certificate: Path
    key: Path


class OpenRun(NamedTuple):
    """One of our runs in Flower: the grid to its nodes and the context of its ServerApp."""

    grid: LinkGrid
    context: Context


class SuperLink:
    """Use as a context manager; `sync` follows the registry. Any thread may open runs."""

    def __init__(self, settings: SuperLinkSettings, registry: NodeRegistry, notices: Notices) -> None:
        prepare_environment(settings.folder)
        self._settings = settings
        self._registry = registry
        self._notices = notices
        self._state = LinkState(self._admits)
        self._registered: Mapping[SiteId, RegisteredNode] = {}
        self._sites: dict[bytes, SiteId] = {}  # by their keys as Flower stores them

    def __enter__(self) -> Self:
        """Listen; raises `PortInUse`. Sites that waited for an earlier engine look for work."""
        with ExitStack() as cleanup:
            self._port = FleetPort(self._state, self._admits)
            cleanup.callback(self._port.close)
            listener = listen(self._settings.host, self._settings.port)
            self._server = HttpsServer(
                self._port, listener, certificate=self._settings.certificate, key=self._settings.key
            )
            cleanup.callback(self._server.stop)
            self._follow_registry()
            self._certificate_changed = self._settings.certificate.stat().st_mtime_ns
            self._server.start()
            self._asked = self._server.start_soon(self._port.answer_ourselves())
            self._cleanup = cleanup.pop_all()
        self._notices.post_to_everybody("work")
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop listening; open requests are dropped."""
        self._cleanup.close()

    def sync(self) -> None:
        """Register the nodes that the registry holds and remove those that it no longer holds.

        Loads a renewed certificate too. Raises `RunFailed` where the port no longer serves.
        """
        if not self._server.alive:
            raise RunFailed(problem="the fleet port has closed")
        changed = self._settings.certificate.stat().st_mtime_ns
        if changed != self._certificate_changed:
            self._server.load_certificate()
            self._certificate_changed = changed
        self._follow_registry()

    def has_answered(self) -> bool:
        """Whether port and LinkState have answered what the call before asked them; never waits, and asks again."""
        answered = self._asked.done()
        if answered:
            self._asked = self._server.start_soon(self._port.answer_ourselves())
        return answered

    def _follow_registry(self) -> None:
        admitted, known = self._admitted(), self._state.node_public_key_to_node_id
        for key in admitted.keys() - known.keys():
            self._state.add_node(key)
        for key in known.keys() - admitted.keys():
            self._state.forget_node(known[key])

    def nodes(self) -> Mapping[SiteId, int]:
        """Flower's node id of each admitted site, whether it is online or not."""
        known = self._state.node_public_key_to_node_id
        return {site: known[key] for key, site in self._admitted().items() if key in known}

    def waiting(self, site: SiteId) -> bool:
        """Whether a message waits for a site."""
        node = self.nodes().get(site)
        return node is not None and self._state.has_message_for(node)

    @contextmanager
    def run(self, bundle: bytes, *, largest: int = LARGEST_ANSWER) -> Iterator[OpenRun]:
        """Start a run of `bundle` with answers of at most `largest` bytes; it ends, as failed when the block raises.

        Raises `RunFailed`.
        """
        run_id, task_id = self._state.open_run(bundle, largest=largest)
        problem = "the run was stopped"
        try:
            context = Context(run_id, SUPERLINK_NODE_ID, {}, RecordDict(), {})
            yield OpenRun(LinkGrid(self._state, run_id, task_id, self._post), context)
            problem = ""
        except Exception as error:
            problem = type(error).__name__
            raise
        finally:
            self._state.close_run(run_id, problem=problem)

    def _admits(self, key: bytes) -> bool:
        return key in self._admitted()

    def _admitted(self) -> Mapping[bytes, SiteId]:
        """The keys of the nodes that may take part now; a site that no longer may is told to stop."""
        registered = self._registry.nodes(FEDERATED)
        if registered is not self._registered:
            before, self._sites = self._sites, {_pem(node.public_key): site for site, node in registered.items()}
            self._registered = registered
            if left := set(before.values()) - set(self._sites.values()):
                self._notices.post("stop", left)
        return self._sites

    def _post(self, nodes: Collection[int]) -> None:
        self._notices.post("work", [site for site, node in self.nodes().items() if node in nodes])


def prepare_environment(folder: Path) -> None:
    """What Flower needs: its files in our folder, no telemetry, no update check, nothing installed."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.environ["FLWR_HOME"] = str(folder / "flwr")
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"
    os.environ["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] = "1"
    telemetry.FLWR_TELEMETRY_ENABLED = "0"  # its value at import came from the environment
    getLogger("flwr").setLevel(WARNING)


def _pem(key: bytes) -> bytes:
    """A public key in the form in which Flower's nodes send it."""
    return load_pem_public_key(key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
