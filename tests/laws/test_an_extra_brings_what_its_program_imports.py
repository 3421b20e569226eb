"""A program that is installed with its extras, and nothing else, has every package that its modules import."""

import json
import subprocess
import sys
import tomllib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.imports import OURS, packages_imported

ROOT = Path(__file__).parents[2]


def modules(*folders: str) -> list[str]:
    """The modules in folders."""
    paths = (path.relative_to(ROOT).with_suffix("") for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [".".join(path.parts) for path in paths]


@pytest.mark.parametrize(
    ("extras", "roots", "functions"),
    [
        # A curator's every import counts, one in a function too: none of its work is another extra's.
        ("coordinator,curation", [*modules("coordinator/curation"), "coordinator.commands.curate"], True),
        ("research", modules("coordinator/research"), True),
        ("console", modules("shared/web"), True),
        ("coordinator", ["coordinator.cli", *modules("coordinator/commands")], False),
        ("site", ["site_node.cli", *modules("site_node/commands")], False),
    ],
)
def test_an_extra_brings_what_its_program_imports(extras: str, roots: list[str], functions: bool) -> None:
    """Whatever a program's modules import by way of ours is in a distribution that its extras require."""
    brought = distributions(frozenset(extras.split(",")))
    provides = packages_distributions()
    imported = packages_imported(roots, functions=functions)
    assert len(imported) > 5  # the walk reached something
    missing = {
        name: module
        for name, module in imported.items()
        if not brought & {canonicalize_name(each) for each in provides.get(name, [name])}
    }
    assert not missing


_WITHOUT = """
import importlib, json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"{name} is of no extra that was installed", name=name)

absent, modules = json.load(sys.stdin)
sys.meta_path.insert(0, Absent())
for module in modules:
    importlib.import_module(module)
"""


@pytest.mark.parametrize("extra", ["coordinator", "site"])
def test_a_program_starts_without_what_no_extra_of_it_brings(extra: str) -> None:
    """All verbs and services are imported where every other package of this environment is absent.

    So is NumPy for a coordinator that executes no federated run.
    """
    brought = distributions(frozenset({extra}))
    absent = [
        package
        for package, of in packages_distributions().items()
        if package not in OURS and not brought & set(map(canonicalize_name, of))
    ]
    assert ("numpy" in absent) == (extra == "coordinator")
    assert {"torch", "flwr"} <= set(absent)
    folder = {"coordinator": "coordinator", "site": "site_node"}[extra]
    rooms = ("commands", "service" if extra == "coordinator" else "node")
    roots = [f"{folder}.cli", *modules(*(f"{folder}/{room}" for room in rooms))]
    command = [sys.executable, "-c", _WITHOUT]
    done = subprocess.run(
        command, input=json.dumps([absent, roots]), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def distributions(extras: frozenset[str]) -> set[str]:
    """What we and all that we require bring with these extras."""
    waiting, seen = [("ricord-federation", extras)], set[tuple[str, frozenset[str]]]()
    while waiting:
        each = waiting.pop()
        if each not in seen:
            seen.add(each)
            waiting += [(canonicalize_name(needed.name), frozenset(needed.extras)) for needed in required(*each)]
    return {name for name, _ in seen}


def required(name: str, extras: frozenset[str]) -> list[Requirement]:
    """What a distribution requires here: ours by `pyproject.toml`, the others by what is installed."""
    if name == "ricord-federation":
        about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        lines = [*about["dependencies"], *(line for extra in extras for line in about["optional-dependencies"][extra])]
        return [Requirement(line) for line in lines]
    with suppress(PackageNotFoundError):
        needed = map(Requirement, requires(name) or ())
        chosen = [{"extra": extra} for extra in extras | {""}]
        return [each for each in needed if each.marker is None or any(map(each.marker.evaluate, chosen))]
    return []
