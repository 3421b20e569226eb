"""The internals of Flower that our adapters use, checked against the versions they know."""

import ast
import inspect
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents, pull_objects
from flwr.superlink.config_loader import SuperLinkLifespanConfig
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid import http_grid
from flwr.superlink.main import create_app
from flwr.superlink.servicer.control import control_handlers
from flwr.superlink.servicer.runtime import runtime_handlers
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from coordinator.federation import superlink
from shared.federation.bundle import FLOWER_VERSION
from site_node.federate import fleet, packing

ROOT = Path(__file__).resolve().parents[2]
ADAPTERS = (
    "coordinator/federation/superlink.py",
    "site_node/federate/fleet.py",
    "site_node/federate/packing.py",
)
PUBLIC = ("flwr.app", "flwr.clientapp", "flwr.serverapp")  # what Flower documents for apps


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
    assert version("flwr") == FLOWER_VERSION


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (create_app, ["config", "superlink_lifespan_class"]),
        (control_handlers.register_node, ["request", "account", "state"]),
        (control_handlers.unregister_node, ["request", "account", "state"]),
        (control_handlers.start_run, ["request", "account", "state", "fleet_api_type", "source"]),
        (runtime_handlers.acquire_task, ["request", "state"]),
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


def test_the_names_the_adapters_replace_are_there() -> None:
    """Flower looks up the name that sets its waits where the adapter replaces it."""
    assert hasattr(http_grid, "pull_objects")
    assert "initial_backoff" in inspect.signature(pull_objects).parameters


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


def test_the_superlinks_settings_are_complete() -> None:
    """Flower's configuration has the fields that ours fills in, no more and no fewer."""
    assert len(SuperLinkLifespanConfig.__dataclass_fields__) == 22
