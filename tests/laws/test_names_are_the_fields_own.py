"""Names of things are nouns that a newcomer knows, and linters are silenced seldom and with a reason."""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NO_NOUNS = frozenset(
    {"one", "found", "told", "take", "looked", "looking", "gone", "lack", "lone", "untold", "unread", "it", "turn"}
)
MOST_SILENCED = 30
SILENCED = re.compile(r"#\s*(?:ruff:\s*)?noqa|#\s*mypy:\s*ignore", re.IGNORECASE)
WITH_REASON = re.compile(r"  # noqa: [A-Z]+[0-9]+ -- \S")


def modules() -> list[Path]:
    """Every Python file that git knows or would take, generated code apart."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = [ROOT / line for line in listed.stdout.splitlines() if "_pb2" not in line]
    return [path for path in paths if path.exists()]


def names(tree: ast.AST) -> Iterator[str]:
    """What a module calls its variables, parameters, functions and classes."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store()) | ast.alias(asname=str(name)):
                yield name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name


def test_nothing_is_called_by_a_word_that_says_nothing() -> None:
    """`one` and `found` are no things: an instance, a row, a finding is."""
    bad = Counter(
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules()
        for name in (path.stem, *names(ast.parse(path.read_text(encoding="utf-8"))))
        if name.strip("_").lower() in NO_NOUNS
    )
    assert not bad


def test_linters_are_silenced_seldom_and_with_a_reason() -> None:
    """At most thirty lines, each with one rule and why."""
    others = (path for path in modules() if path != Path(__file__))
    lines = [line for path in others for line in path.read_text(encoding="utf-8").splitlines() if SILENCED.search(line)]
    assert len(lines) <= MOST_SILENCED
    assert not [line for line in lines if not WITH_REASON.search(line)]
