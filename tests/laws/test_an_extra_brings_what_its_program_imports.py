"""A program that is installed with its extras, and nothing else, has every package that its modules import."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
OURS = {"site_node", "coordinator", "shared"}


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


def packages_imported(roots: list[str], *, functions: bool) -> dict[str, str]:
    """The packages of others, with a module that imports each; inside `functions` as well, or at import alone."""
    waiting, seen, packages = list(roots), set[str](), dict[str, str]()
    while waiting:
        module = waiting.pop()
        path = file_of(module)
        if module in seen or path is None:
            continue
        seen.add(module)
        for name in names_imported(ast.parse(path.read_text()), functions=functions):
            package = name.partition(".")[0]
            if package in OURS:
                waiting.append(name)
            elif package not in sys.stdlib_module_names:
                packages.setdefault(package, module)
    return packages


def names_imported(tree: ast.AST, *, functions: bool) -> Iterator[str]:
    """Every module, and every name from a module, which may be one."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not is_for_types and (functions or not is_function):
            yield from names_imported(node, functions=functions)


def file_of(module: str) -> Path | None:
    """Where a module of ours lies."""
    path = ROOT / module.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)


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
