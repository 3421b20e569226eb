"""The internals of Flower that our adapters use, checked against the versions they know."""

import ast
import inspect
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from flwr.app import Message, RecordDict
from flwr.server.superlink.linkstate.in_memory_linkstate import InMemoryLinkState
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.servicer.fleet import fleet_handlers
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from coordinator.federation import superlink
from coordinator.federation.fleet_port import PATHS
from coordinator.federation.link_state import LinkState
from shared.federation import message_objects
from shared.federation.bundle import FLOWER_VERSION
from site_node.federate import fleet, packing

ROOT = Path(__file__).resolve().parents[2]
ADAPTERS = (
    "coordinator/federation/fleet_port.py",
    "coordinator/federation/link_grid.py",
    "coordinator/federation/link_state.py",
    "coordinator/federation/superlink.py",
    "shared/federation/message_objects.py",
    "site_node/federate/fleet.py",
    "site_node/federate/packing.py",
)
PUBLIC = ("flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.simulation")  # what Flower documents for apps


def test_only_the_adapters_use_flowers_internals() -> None:
    """Every other module imports the documented interface of Flower, so an upgrade is reviewed in three places."""
    internal = {
        str(path.relative_to(ROOT))
        for program in ("site_node", "coordinator", "shared", "compose")
        for path in (ROOT / program).rglob("*.py")
        for name in imported(ast.parse(path.read_text()))
        if f"{name}.".startswith("flwr.") and not is_public(name)
    }
    assert internal == set(ADAPTERS)


def imported(tree: ast.AST) -> Iterator[str]:
    """The dotted name of everything that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_public(name: str) -> bool:
    return f"{name}.".startswith(tuple(f"{public}." for public in PUBLIC)) and "._" not in name


@pytest.mark.parametrize(
    "line",
    [
        "import flwr.supercore.constant",
        "from flwr import supercore",
        "from flwr.app._x import y",
        "import flwr.app_x as f",
    ],
)
def test_every_way_to_import_internals_is_seen(line: str) -> None:
    """The law above is not passed by another form of import."""
    assert [name for name in imported(ast.parse(line)) if not is_public(name)]


def test_the_installed_flower_is_one_that_all_adapters_know() -> None:
    """A new Flower fails here until somebody reviews its internals again."""
    assert version("flwr") in superlink.KNOWN_VERSIONS
    assert version("flwr") in fleet.KNOWN_VERSIONS
    assert version("flwr") in packing.KNOWN_VERSIONS
    assert version("flwr") in message_objects.KNOWN_VERSIONS
    assert version("flwr") == FLOWER_VERSION


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (InMemoryLinkState.__init__, ["self", "federation_manager", "object_store"]),
        (InMemoryLinkState.store_message_and_object_tree, ["self", "message", "object_tree", "session_id"]),
        (InMemoryLinkState.store_object, ["self", "run_id", "session_id", "object_id", "object_content"]),
        (InMemoryLinkState.activate_node, ["self", "node_id", "heartbeat_interval"]),
        (InMemoryLinkState.acknowledge_node_heartbeat, ["self", "node_id", "heartbeat_interval"]),
        (InMemoryLinkState.deactivate_node, ["self", "node_id"]),
        (InMemoryLinkState.get_message_res, ["self", "message_ids", "run_id"]),
        (InMemoryLinkState.delete_messages, ["self", "message_ins_ids"]),
        (InMemoryLinkState._cleanup_push_session, ["self", "session_id", "cleanup_messages"]),
        (InMemoryLinkState.finish_task, ["self", "task_id", "sub_status", "details"]),
        (InMemoryLinkState.cleanup_run, ["self", "run_id"]),
        (fleet_handlers.activate_node, ["request", "state"]),
        (fleet_handlers.deactivate_node, ["request", "state"]),
        (fleet_handlers.send_node_heartbeat, ["request", "state"]),
        (fleet_handlers.pull_messages, ["request", "state", "store"]),
        (fleet_handlers.push_messages, ["request", "state"]),
        (fleet_handlers.get_run, ["request", "state"]),
        (fleet_handlers.push_object, ["request", "state"]),
        (fleet_handlers.pull_object, ["request", "state"]),
        (fleet_handlers.confirm_message_received, ["request", "state", "store"]),
        (InMemoryObjectStore.preregister, ["self", "run_id", "object_tree"]),
        (InMemoryObjectStore.put, ["self", "object_id", "object_content"]),
        (NoOpFederationManager.filter_nodes, ["self", "node_ids", "federation_id"]),
        (NoOpFederationManager.has_node, ["self", "node_id", "federation_id"]),
        (FleetHttpClient.__init__, ["self", "base_url", "interceptors", "verify", "timeout", "retry_invoker"]),
        (NodeAuthHttpInterceptor.__init__, ["self", "private_key", "public_key"]),
        (inflate_object_from_contents, ["object_id", "object_contents", "keep_object_contents", "objects"]),
    ],
)
def test_functions_have_the_parameters_the_adapters_pass(function: object, parameters: list[str]) -> None:
    """The parameters of each internal function are those the adapters were written for."""
    assert list(inspect.signature(function).parameters) == parameters  # type: ignore[arg-type] # Flower is not followed


def test_every_path_of_the_port_is_flowers() -> None:
    """Each takes the message that Flower's port takes there; what it leaves out of Flower's paths registers nodes."""
    flowers = {path: kind for (_, path), kind in PROTOBUF_REQUEST_TYPES.items() if path.startswith("/v1/fleet/")}
    assert {name: path.request for name, path in PATHS.items()}.items() <= flowers.items()
    assert flowers.keys() - PATHS.keys() == {"/v1/fleet/register-node", "/v1/fleet/unregister-node"}


def test_the_state_has_the_parts_that_ours_reaches_into() -> None:
    """The attributes of Flower's LinkState and of a message's metadata that ours reads and changes."""
    state = vars(LinkState(lambda _: True))
    parts = "nodes node_public_key_to_node_id owner_to_node_ids run_ids task_store task_token_store message_ins_store"
    parts += " task_token_to_task_id message_ins_id_to_message_res_id flwr_aid_to_run_ids run_series_store"
    parts += " run_series_context_store _object_push_sessions _object_push_session_by_root"
    assert set(parts.split()) <= state.keys()
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 0, 0, 1
    stamped = vars(Message(RecordDict(), 2, "query").metadata)
    assert {"_run_id", "_src_node_id", "_src_task_id", "_message_id"} <= stamped.keys()


def test_the_fleet_client_has_the_calls_that_the_site_makes() -> None:
    """Each is a method of one request, named as in Flower's protocol."""
    for call in (
        "ActivateNode",
        "ConfirmMessageReceived",
        "DeactivateNode",
        "GetRun",
        "PullMessages",
        "PullObject",
        "PushMessages",
        "PushObject",
        "SendNodeHeartbeat",
    ):
        assert list(inspect.signature(getattr(FleetHttpClient, call)).parameters) == ["self", "request"]
