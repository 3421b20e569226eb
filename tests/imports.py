"""Which packages of others our modules import, read from their source."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
OURS = frozenset({"site_node", "coordinator", "shared", "tests", "compose"})


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
