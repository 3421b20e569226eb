"""The shape of the code: modules and functions of readable size, and module names that say something."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINES_PER_MODULE = 400
LINES_PER_FUNCTION = 60
DUMPS = {"utils", "util", "helpers", "helper", "common", "misc", "stuff", "tools"}
TOP_LEVEL = {
    *("pyproject.toml", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"),
    *("site_node", "coordinator", "shared", "tests", "compose"),
    *("LICENSE", "CHANGELOG.md", "Makefile", "constraints.txt", ".ci", ".gitignore", ".pre-commit-config.yaml"),
    *(".dockerignore",),
}


def tracked() -> list[Path]:
    """Every file that git tracks or would add, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [Path(line) for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def modules() -> list[Path]:
    """Python files without generated code."""
    return [p for p in tracked() if p.suffix == ".py" and not p.stem.endswith(("_pb2", "_pb2_grpc"))]


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_the_top_level_is_the_agreed_one() -> None:
    """The top level holds the agreed files and folders only."""
    assert {path.parts[0] for path in tracked()} <= TOP_LEVEL


def test_no_module_is_longer_than_its_limit() -> None:
    """A module has at most 400 lines; the aim is 300."""
    long = {str(p): n for p in modules() if (n := len((ROOT / p).read_text().splitlines())) > LINES_PER_MODULE}
    assert not long


def test_no_function_is_longer_than_its_limit() -> None:
    """A function has at most 60 lines; the aim is 40."""
    long = {
        f"{path}:{node.name}": size
        for path in modules()
        for node in functions(ast.parse((ROOT / path).read_text()))
        if (size := (node.end_lineno or 0) - node.lineno + 1) > LINES_PER_FUNCTION
    }
    assert not long


def test_no_module_is_a_dump() -> None:
    """No module or folder has a name like `utils`, which says nothing about its content."""
    names = {path: {*path.parts[:-1], path.stem} for path in modules()}
    assert not {str(path) for path, parts in names.items() if parts & DUMPS}


def test_packages_hold_no_code_in_their_init() -> None:
    """`__init__.py` explains its package; the code is in modules with names."""
    with_code = []
    for path in modules():
        if path.name == "__init__.py":
            body = ast.parse((ROOT / path).read_text()).body
            rest = body[1:] if body and isinstance(body[0], ast.Expr) else body
            if not all(isinstance(node, ast.Import | ast.ImportFrom | ast.Assign) for node in rest):
                with_code.append(str(path))
    assert not with_code


def test_every_package_explains_itself() -> None:
    """Every `__init__.py` of the product has a docstring that states the package's purpose."""
    unexplained = [
        str(path)
        for path in modules()
        if path.name == "__init__.py"
        and path.parts[0] in {"site_node", "coordinator", "shared"}
        and "proto" not in path.parts
        and ast.get_docstring(ast.parse((ROOT / path).read_text())) is None
    ]
    assert not unexplained


def test_only_validate_says_that_a_study_is_validated() -> None:
    """`seal` accepts only `Validated`, so only `validate` may construct one."""
    makers = {
        path.parts[1]
        for path in modules()
        if path.parts[0] in {"site_node", "coordinator", "shared"}
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Validated"
    }
    assert makers <= {"validate"}
