"""A form that a field must have is asked of its whole text: pydantic looks for a pattern anywhere in it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.federation.plan import Member
from shared.federation.task import StatisticsTask, TrainingTask
from shared.frozen import Frozen
from site_node.blanking import FrameWithText

ROOT = Path(__file__).resolve().parents[2]
BEGINNINGS = {"^https?://"}  # of a text that goes on as it likes


def patterns() -> Iterator[tuple[str, str]]:
    """Each pattern in the product, and where it stands."""
    for path in (path for part in ("site_node", "coordinator", "shared") for path in (ROOT / part).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assigned = [node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)]
        named = {ast.unparse(node.targets[0]): node.value for node in assigned}
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "pattern":
                value = named.get(ast.unparse(node.value), node.value)
                assert isinstance(value, ast.Constant), path
                yield str(value.value), f"{path.relative_to(ROOT)}:{node.value.lineno}"


def test_every_pattern_has_both_ends() -> None:
    """It begins with `^` and ends with `$`, and what it chooses between stands in brackets."""
    known = list(patterns())
    assert known
    for pattern, where in known:
        if pattern not in BEGINNINGS:
            assert pattern[0] == "^", where
            assert pattern[-1] == "$", where
            depth = 0
            for letter in pattern:
                depth += (letter == "(") - (letter == ")")
                assert letter != "|" or depth, where


@pytest.mark.parametrize(
    ("model", "field", "right"),
    [
        (FrameWithText, "picture", {"picture": "7.png", "instance": "1.2.3", "frame": 0, "boxes": ()}),
        (TrainingTask, "label", {"label": "pneumonia"}),
        (StatisticsTask, "cohort", {"cohort": "ricord", "policy": "cms-11"}),
        (StatisticsTask, "policy", {"cohort": "ricord", "policy": "cms-11"}),
        (Member, "fingerprint", {"site_id": "123456", "fingerprint": f"SHA256:{'x' * 43}"}),
    ],
)
def test_nothing_stands_around_a_right_text(model: type[Frozen], field: str, right: dict[str, object]) -> None:
    """No folder before a picture's name, and no line after a cohort's."""
    assert model.model_validate(right)
    for around in ("../{}", "{}\n", "{} x", " {}", "X{}"):
        with pytest.raises(ValidationError):
            model.model_validate(right | {field: around.format(right[field])})
