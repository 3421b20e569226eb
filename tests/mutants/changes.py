"""The mutants of a module: comparisons, booleans, raises, early returns, numbers and calls, each changed by itself."""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

_OTHERS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_OPPOSITES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_UNTOUCHED = {"annotation", "returns", "decorator_list", "bases"}
_PARTS = ("body", "orelse", "handlers", "finalbody", "cases")


@dataclass(frozen=True)
class Mutant:
    """One change of one module; `place`, `was` and `becomes` name it wherever its lines move."""

    path: str  # relative to the repository
    place: str  # the function or class around it, empty at the module's top
    was: str
    becomes: str
    line: int  # of the statement's first, which ends before the statements in it
    last_line: int
    changed_line: int
    number: int  # in the order of `_changed`

    @property
    def name(self) -> tuple[str, str, str, str]:
        """What stays the same when other lines change."""
        return self.path, self.place, self.was, self.becomes


def mutants_of(root: Path, path: str) -> list[Mutant]:
    """Every mutant of the module at `path` below `root`, in the order of its lines."""
    tree = ast.parse((root / path).read_text())
    return [
        Mutant(path, place, was, _header(statement), statement.lineno, _end_of_header(statement), line, number)
        for number, (place, was, statement, line) in enumerate(_changed(tree))
    ]


def compiled(root: Path, mutant: Mutant) -> CodeType:
    """The code of the changed module."""
    tree = ast.parse((root / mutant.path).read_text())
    for number, _ in enumerate(_changed(tree)):
        if number == mutant.number:
            return compile(ast.fix_missing_locations(tree), str(root / mutant.path), "exec")
    raise LookupError(mutant)


def _changed(tree: ast.Module) -> Iterator[tuple[str, str, ast.stmt, int]]:
    """Make each change in `tree` and undo it; yields the place, the statement before and now, and the line."""
    for statement in tree.body:
        yield from _changes_below(tree, "body", statement, place="", around=statement)


def _changes_below(
    parent: ast.AST, field: str, node: ast.AST, *, place: str, around: ast.stmt
) -> Iterator[tuple[str, str, ast.stmt, int]]:
    if (
        field in _UNTOUCHED
        or (isinstance(node, ast.keyword) and node.arg == "strict")
        or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ):
        return
    around = node if isinstance(node, ast.stmt) else around
    was = _header(around)
    for variant in _variants(parent, field, node):
        ast.copy_location(variant, node)
        _put(parent, field, node, variant)
        yield place, was, variant if isinstance(variant, ast.stmt) else around, getattr(node, "lineno", around.lineno)
        _put(parent, field, variant, node)
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        place = f"{place}.{node.name}".lstrip(".")
    for name, value in list(ast.iter_fields(node)):
        for child in list(value) if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _changes_below(node, name, child, place=place, around=around)


def _put(parent: ast.AST, field: str, old: ast.AST, new: ast.AST) -> None:
    value = getattr(parent, field)
    if isinstance(value, list):
        value[next(at for at, child in enumerate(value) if child is old)] = new
    else:
        setattr(parent, field, new)


def _variants(parent: ast.AST, field: str, node: ast.AST) -> Iterator[ast.AST]:
    """What stands in place of `node`, one after the other."""
    if isinstance(node, ast.stmt):
        if _may_go(parent, node):
            yield ast.Pass()
    elif isinstance(node, ast.Compare | ast.BoolOp):
        yield from _other_tests(node)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.Name) and node.id in _OPPOSITES:
        yield ast.Name(_OPPOSITES[node.id], node.ctx)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.expr) and (
        field == "ifs" or (field == "test" and isinstance(parent, ast.If | ast.IfExp))
    ):
        yield ast.UnaryOp(ast.Not(), node)


def _may_go(parent: ast.AST, node: ast.stmt) -> bool:
    """Whether it refuses, adds or calls something, and whatever follows it still runs."""
    if isinstance(node, ast.Return):
        return not isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef)
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    return is_call or isinstance(node, ast.Raise | ast.AugAssign | ast.Continue)


def _other_tests(node: ast.Compare | ast.BoolOp) -> Iterator[ast.AST]:
    """Another operator for each one of a comparison; `and` and `or` without each of their conditions."""
    if isinstance(node, ast.BoolOp):
        for at in range(len(node.values)):
            rest = node.values[:at] + node.values[at + 1 :]
            yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
    else:
        for at, operator in enumerate(node.ops):
            for other in _OTHERS[type(operator)]:
                yield ast.Compare(node.left, [*node.ops[:at], other(), *node.ops[at + 1 :]], node.comparators)


def _header(statement: ast.stmt) -> str:
    """The statement in one line, without the statements in it."""
    if isinstance(statement, ast.Try):
        return "try:"
    alone = copy.copy(statement)
    for part in _PARTS:
        if hasattr(alone, part):
            setattr(alone, part, [])
    return " ".join(ast.unparse(alone).split("\n"))


def _end_of_header(statement: ast.stmt) -> int:
    body = getattr(statement, "body", None)
    return max(statement.lineno, body[0].lineno - 1) if body else statement.end_lineno or statement.lineno
