"""The adapter to Flower 1.41.0's SuperLink: the only module of the coordinator that touches Flower's internals.

Two listeners share one application. The one for sites speaks TLS and serves the Fleet paths only, everything else is
404; the other is on loopback, on a port the system chooses, and serves the Runtime paths only, for our own `HttpGrid`.
No listener serves the Control paths: runs and nodes go through the same handlers, called in this process. Nodes
register through us alone (`enable_supernode_auth`), and the registry of agreements is read at every message.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from logging import WARNING, getLogger
from pathlib import Path
from typing import Any, Self

import httpx
import uvicorn
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from flwr.app import Context
from flwr.common.constant import SUPERLINK_NODE_ID, TRANSPORT_TYPE_GRPC_RERE, SubStatus
from flwr.common.serde import context_from_proto, run_from_proto
from flwr.proto.control_pb2 import RegisterNodeRequest, StartRunRequest, UnregisterNodeRequest
from flwr.proto.fab_pb2 import Fab
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullTaskInputRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore import telemetry
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.inflatable.inflatable_utils import pull_objects
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.auth_plugin import NoOpControlAuthnPlugin
from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
from flwr.superlink.config_loader import SuperLinkLifespanConfig
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid import HttpGrid, http_grid
from flwr.superlink.main import create_app
from flwr.superlink.servicer.control import control_handlers
from flwr.superlink.servicer.runtime import runtime_handlers
from starlette.types import ASGIApp

from coordinator.federation.interface import FEDERATED, NodeRegistry
from coordinator.federation.listener import PathFilter, listen
from shared.errors.federation import RunFailed
from shared.frozen import Frozen
from shared.ids import SiteId

KNOWN_VERSIONS = ("1.41.0",)
_FLEET, _RUNTIME = "/v1/fleet/", "/v1/runtime/"
_START_SECONDS = 60.0


class SuperLinkSettings(Frozen):
    """Where the SuperLink listens and keeps its files; `certificate` and `key` are PEM files for `host`."""

    folder: Path
    host: str
    port: int
    certificate: Path
    key: Path


class OpenRun:
    """One of our runs in Flower: the grid to its nodes and the context of its ServerApp."""

    def __init__(self, grid: HttpGrid, context: Context) -> None:
        self.grid = grid
        self.context = context


class SuperLink:
    """Flower's SuperLink in this process. Use as a context manager; `sync` follows the registry."""

    def __init__(self, settings: SuperLinkSettings, registry: NodeRegistry) -> None:
        self._settings = settings
        self._registry = registry
        self._servers: list[tuple[uvicorn.Server, threading.Thread, socket.socket]] = []
        self._account = NoOpControlAuthnPlugin().validate_tokens_in_metadata([])[1]

    def __enter__(self) -> Self:
        """Listen; raises `PortInUse`."""
        with ExitStack() as cleanup:
            fleet = cleanup.enter_context(listen(self._settings.host, self._settings.port))
            runtime = cleanup.enter_context(listen("127.0.0.1", 0))
            cleanup.push(self.__exit__)
            self._start(fleet, runtime)
            cleanup.pop_all()
        return self

    def _start(self, fleet: socket.socket, runtime: socket.socket) -> None:
        prepare_environment(self._settings.folder)
        _poll_replies_faster()
        self._certificate_changed = self._settings.certificate.stat().st_mtime_ns
        self._runtime_address = f"127.0.0.1:{runtime.getsockname()[1]}"
        app = create_app(_configuration(self._settings), SuperLinkLifespan)
        self._state: Any = app.state.linkstate_factory.state()
        _install_admission(_Admission(self._registry), self._state, app.state.linkstate_factory)
        self._serve(PathFilter(app, _RUNTIME), runtime, lifespan="on")
        self._serve(
            PathFilter(app, _FLEET),
            fleet,
            lifespan="off",
            ssl_certfile=str(self._settings.certificate),
            ssl_keyfile=str(self._settings.key),
        )

    def __exit__(self, *exception: object) -> None:
        """Stop listening; open requests are dropped."""
        for server, _, _ in self._servers:
            server.should_exit = True
        for server, thread, listener in self._servers:
            thread.join(timeout=5)
            server.force_exit = True
            listener.close()
        self._servers.clear()

    def sync(self) -> None:
        """Register the nodes that the registry holds and remove those that it no longer holds.

        Loads a renewed certificate too: new connections get it.
        """
        self._reload_certificate()
        registered = {_pem(node.public_key) for node in self._registry.nodes(FEDERATED).values()}
        known = self._known()
        for key in registered - known.keys():
            control_handlers.register_node(RegisterNodeRequest(public_key=key), self._account, self._state)
        for key in known.keys() - registered:
            control_handlers.unregister_node(UnregisterNodeRequest(node_id=known[key]), self._account, self._state)

    def nodes(self) -> Mapping[SiteId, int]:
        """Flower's node id of each admitted site, whether it is online or not."""
        known = self._known()
        admitted = self._registry.nodes(FEDERATED)
        return {site: known[_pem(node.public_key)] for site, node in admitted.items() if _pem(node.public_key) in known}

    @contextmanager
    def run(self, bundle: bytes) -> Iterator[OpenRun]:
        """Start a run of `bundle` and hold its ServerApp's task; it ends as failed when the block raises.

        Raises `RunFailed` when Flower does not start it.
        """
        request = StartRunRequest(fab=Fab(content=bundle))
        run_id = control_handlers.start_run(request, self._account, self._state, None).run_id
        grid = HttpGrid(self._runtime_address, insecure=True, token=self._acquire(run_id))
        grid._retry_invoker = None  # noqa: SLF001 -- Flower's own would send SIGINT to this process on a 401
        client: Any = grid._runtime_client  # noqa: SLF001 -- the one way to the task's input and output
        heartbeat = HeartbeatSender(lambda: _send_heartbeat(client))
        heartbeat.start()
        outcome = (SubStatus.FAILED, "the run was stopped")
        try:
            task = client.PullTaskInput(PullTaskInputRequest())
            grid.set_run(run_from_proto(task.run))
            _set_task_identity(task.task_id, task.run.run_id, task.context.node_id)
            yield OpenRun(grid, context_from_proto(task.context))
            outcome = (SubStatus.COMPLETED, "")
        except Exception as error:
            outcome = (SubStatus.FAILED, type(error).__name__)
            raise
        finally:
            heartbeat.stop()
            client.PushTaskOutput(PushTaskOutputRequest(sub_status=outcome[0], details=outcome[1]))
            grid.close()

    def _reload_certificate(self) -> None:
        changed = self._settings.certificate.stat().st_mtime_ns
        if changed != self._certificate_changed:
            for server, _, _ in self._servers:
                if server.config.ssl is not None:
                    server.config.ssl.load_cert_chain(self._settings.certificate, self._settings.key)
            self._certificate_changed = changed

    def _acquire(self, run_id: int) -> str:
        """The token of our run's task; ends the tasks that a previous process left unfinished."""
        while True:
            acquired = runtime_handlers.acquire_task(
                AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP]), self._state
            )
            if not acquired.token:
                raise RunFailed(problem="Flower did not start it")
            if acquired.task.run_id == run_id:
                return str(acquired.token)
            self._state.finish_task(acquired.task.task_id, sub_status=SubStatus.FAILED, details="left behind")

    def _known(self) -> dict[bytes, int]:
        return {
            node.public_key: node.node_id
            for node in self._state.get_node_info(owner_aids=[self._account.flwr_aid])
            if node.status != "unregistered"
        }

    def _serve(self, app: ASGIApp, listener: socket.socket, **options: Any) -> None:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, ws="none", **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True, name="superlink")
        thread.start()
        self._servers.append((server, thread, listener))
        deadline = time.monotonic() + _START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RunFailed(problem="Flower's SuperLink did not start")
            time.sleep(0.02)


class _Admission(NoOpFederationManager):  # type: ignore[misc] # Flower's packages are not followed by mypy
    """Admits the nodes whose agreement is in force now, and the SuperLink itself (node 1)."""

    def __init__(self, registry: NodeRegistry) -> None:
        super().__init__()
        self._registry = registry

    def filter_nodes(self, node_ids: set[int], federation_id: str) -> set[int]:
        """The nodes among `node_ids` that may take part; without node 1 every message would be lost."""
        del federation_id
        admitted = {_pem(node.public_key) for node in self._registry.nodes(FEDERATED).values()}
        return {
            node_id
            for node_id in node_ids
            if node_id == SUPERLINK_NODE_ID
            or any(node.public_key in admitted for node in self.linkstate.get_node_info(node_ids=[node_id]))
        }

    def has_node(self, node_id: int, federation_id: str) -> bool:
        """Whether this node may take part."""
        return node_id in self.filter_nodes({node_id}, federation_id)


def prepare_environment(folder: Path) -> None:
    """What every Flower process needs: its files in our folder, no telemetry, no update check, nothing installed."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.environ["FLWR_HOME"] = str(folder / "flwr")
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"
    os.environ["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] = "1"
    telemetry.FLWR_TELEMETRY_ENABLED = "0"  # its value at import came from the environment
    getLogger("flwr").setLevel(WARNING)
    getLogger("httpx").setLevel(WARNING)  # it logs every request


def _configuration(settings: SuperLinkSettings) -> SuperLinkLifespanConfig:
    return SuperLinkLifespanConfig(
        control_address="",
        health_server_address=None,
        host=settings.host,
        port=settings.port,
        insecure=False,
        certificates=None,
        superexec_auth_secret=secrets.token_bytes(32),  # no other program on this host can acquire our ServerApp's task
        authn_plugin=NoOpControlAuthnPlugin(),
        event_log_plugin=None,
        fleet_event_log_plugin=None,
        enable_event_log=False,
        artifact_provider=None,
        enable_supernode_auth=True,
        fleet_api_type=TRANSPORT_TYPE_GRPC_RERE,
        fleet_api_address=None,
        simulation=False,
        ssl_ca_certfile=None,
        ssl_certfile=str(settings.certificate),
        ssl_keyfile=str(settings.key),
        database=str(settings.folder / "superlink.sqlite"),
        isolation="process",
        runtime_dependency_install=False,
    )


def _install_admission(admission: _Admission, state: Any, factory: Any) -> None:
    """Replace Flower's open admission, which lets every node into every run, with ours."""
    admission.linkstate = state
    state._federation_manager = admission  # noqa: SLF001 -- `create_app` has no parameter for it
    factory.federation_manager = admission


def _poll_replies_faster() -> None:
    """Ask again after 0.1 s for a part of a reply that has not arrived, where Flower hard-codes 1 s."""
    http_grid.pull_objects = partial(pull_objects, initial_backoff=0.1)


def _send_heartbeat(client: Any) -> bool:
    try:
        return bool(client.SendTaskHeartbeat(SendTaskHeartbeatRequest()).success)
    except httpx.HTTPError:
        return False


def _set_task_identity(task_id: int, run_id: int, node_id: int) -> None:
    """Flower stamps new messages from this process-wide record, so a process executes one run at a time."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = task_id, run_id, node_id


def _pem(key: bytes) -> bytes:
    """A public key in the form in which Flower stores it."""
    return load_pem_public_key(key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
