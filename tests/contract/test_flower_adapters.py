"""The internals of Flower that our two adapters use, checked against the versions they know."""

import ast
import inspect
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from flwr.supercore.inflatable.inflatable_utils import pull_objects
from flwr.superlink.config_loader import SuperLinkLifespanConfig
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid import http_grid
from flwr.superlink.main import create_app
from flwr.superlink.servicer.control import control_handlers
from flwr.superlink.servicer.runtime import runtime_handlers
from flwr.supernode import start_client_internal
from flwr.supernode.runtime import run_clientapp

from coordinator.federation import superlink
from shared.federation.bundle import FLOWER_VERSION
from site_node.federate import supernode

ROOT = Path(__file__).resolve().parents[2]
ADAPTERS = ("coordinator/federation/superlink.py", "site_node/federate/supernode.py")
PUBLIC = ("flwr.app", "flwr.clientapp", "flwr.serverapp")  # what Flower documents for apps


def test_only_the_adapters_use_flowers_internals() -> None:
    """Every other module imports the documented interface of Flower, so an upgrade is reviewed in two places."""
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


def test_the_installed_flower_is_one_both_adapters_know() -> None:
    """A new Flower fails here until somebody reviews its internals again."""
    assert version("flwr") in superlink.KNOWN_VERSIONS
    assert version("flwr") in supernode.KNOWN_VERSIONS
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
        (run_clientapp.push_message, ["client", "message", "context"]),
        (run_clientapp.push_task_output, ["client", "context", "sub_status", "details"]),
    ],
)
def test_functions_have_the_parameters_the_adapters_pass(function: object, parameters: list[str]) -> None:
    """The parameters of each internal function are those the adapters were written for."""
    assert list(inspect.signature(function).parameters) == parameters  # type: ignore[arg-type] # Flower is not followed


def test_the_names_the_adapters_replace_are_there() -> None:
    """Flower looks up the names that set its waits, and what fetches a message, where the adapter replaces them."""
    assert start_client_internal.pull_objects is pull_objects
    assert hasattr(http_grid, "pull_objects")
    loop = inspect.getsource(start_client_internal.start_client_internal)
    assert "time.sleep(3)" in loop
    assert f"run_id = {supernode.PULL}(" in loop
    assert start_client_internal.time is time
    assert "initial_backoff" in inspect.signature(pull_objects).parameters


def test_the_superlinks_settings_are_complete() -> None:
    """Flower's configuration has the fields that ours fills in, no more and no fewer."""
    assert len(SuperLinkLifespanConfig.__dataclass_fields__) == 22
