"""Every reason code that the site node uses stands in the catalogue, with a sentence and what the hospital can do."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors.base import code_of
from shared.errors.tree import all_errors
from site_node.reasons import catalogue, ending_of, is_permanent, reason_for, sentence_of
from site_node.study import Ending, Severity

PACKAGE = Path(__file__).resolve().parents[2] / "site_node"
# What is given a code: the argument that holds it, by place or name.
CONSTRUCTORS: dict[str, int | str] = {
    "reason_for": 0,
    "reason": 1,
    "unsupported": 0,
    "unreadable": 0,
    "malformed": 0,
    "left_out": 0,
    "refused": 1,
    "_Refusal": 0,
    "Finding": "code",
    "Candidate": "refusal",
    "Outcome": "reason",
    "PacsFailed": "reason",
}


def trees() -> dict[Path, ast.Module]:
    """The parsed modules of the site node."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}


def literals(node: ast.expr) -> Iterator[str]:
    """The texts that an argument can be, where the source says so."""
    match node:
        case ast.Constant(value=str() as text) if text:
            yield text
        case ast.IfExp(body=body, orelse=other):
            yield from (*literals(body), *literals(other))
        case ast.BoolOp(values=values):
            yield from (text for value in values for text in literals(value))


def name_called(node: ast.AST) -> str:
    """The name that a call calls; empty where the node is none."""
    function = node.func if isinstance(node, ast.Call) else None
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def codes_given() -> Iterator[tuple[str, str]]:
    """Each code that the source gives to a constructor, and where."""
    for path, tree in trees().items():
        for node in ast.walk(tree):
            name = name_called(node)
            if name not in CONSTRUCTORS or not isinstance(node, ast.Call):
                continue
            place = CONSTRUCTORS[name]
            arguments = node.args[place : place + 1] if isinstance(place, int) else []
            arguments += [keyword.value for keyword in node.keywords if keyword.arg == place]
            prefix = "validate-" if name == "Finding" else ""
            for argument in arguments:
                yield from ((prefix + code, f"{path.name}:{node.lineno}") for code in literals(argument))


def texts_of(folder: str) -> set[str]:
    """Every text that stands in the source of the site node, or of one of its rooms."""
    return {
        node.value
        for path, tree in trees().items()
        if path.is_relative_to(PACKAGE / folder)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_code_given_to_a_constructor_stands_in_the_catalogue() -> None:
    """No reason can be made that has no sentence."""
    given = list(codes_given())
    assert len(given) > 200
    assert not [(code, where) for code, where in given if code not in catalogue()]


def test_every_constructor_is_one_that_the_source_calls() -> None:
    """The law above looks at constructors that exist."""
    called = {name_called(node) for tree in trees().values() for node in ast.walk(tree)}
    assert called >= set(CONSTRUCTORS)


def test_every_code_of_the_catalogue_is_used() -> None:
    """No sentence is left over: its code stands in the source, whole or before a status, or is an error's."""
    everywhere, in_validate = texts_of("."), texts_of("validate")
    errors = {code_of(kind) for kind in all_errors()}
    prefixes = tuple(text for text in everywhere if text.startswith("pacs-") and text.endswith("-"))
    used = everywhere | errors | {f"validate-{text}" for text in in_validate}
    assert not {code for code in catalogue().keys() - used if not f"{code}-".startswith(prefixes)}


def test_every_status_of_a_pacs_is_explained() -> None:
    """Any DIMSE status of failure and any HTTP status has a sentence; a passing failure is never called permanent."""
    codes = [f"pacs-status-{status:04x}" for status in (0x0110, 0x0122, 0xA7FF, 0xC000, 0xC123, 0xFFFF)]
    codes += [f"pacs-http-{status}" for status in (204, 302, 400, 404, 406, 408, 418, 429, 500, 501, 502, 503, 599)]
    assert sentence_of("pacs-status-") != sentence_of("no-such-code")
    assert sentence_of("no-such-code") not in {sentence_of(code) for code in codes}
    passing = {
        "pacs-status-0110",
        "pacs-status-a7ff",
        "pacs-status-ffff",
        "pacs-http-204",
        "pacs-http-302",
        "pacs-http-408",
    }
    passing |= {f"pacs-http-{status}" for status in (429, 500, 502, 503, 599)}
    assert {code for code in codes if not is_permanent(code)} == passing


@pytest.mark.parametrize("code", catalogue())
def test_sentence_and_advice_are_whole_sentences_without_values(code: str) -> None:
    """Both begin with a capital, end with a period, and have no place for a value."""
    meaning = catalogue()[code]
    for text in (meaning.sentence, meaning.advice):
        assert re.fullmatch(r"[A-Z][^{}%]+[^.]\.", text)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)


def test_no_code_stands_under_two_headings() -> None:
    """One code has one text."""
    text = (PACKAGE / "reasons.toml").read_text(encoding="utf-8")
    codes = re.findall(r"^([a-z0-9-]+) = ", text, re.MULTILINE)
    assert sorted(codes) == sorted(catalogue())


def test_a_reason_is_as_grave_as_the_catalogue_or_its_caller_says() -> None:
    """The caller goes first; where neither says it, the reason is not made."""
    assert reason_for("truncated").severity is Severity.REJECT
    assert reason_for("truncated", severity=Severity.REVIEW).severity is Severity.REVIEW
    assert reason_for("view", severity=Severity.WARN, attribute="ViewPosition").attribute == "ViewPosition"
    with pytest.raises(ValueError, match="view"):
        reason_for("view")
    with pytest.raises(KeyError):
        reason_for("no-such-code")


def test_what_a_person_can_settle_is_quarantined_and_the_rest_refused() -> None:
    """Outside the criteria the severity decides where a file or study ends."""
    assert ending_of(reason_for("other-bytes")) is Ending.QUARANTINED
    assert ending_of(reason_for("truncated")) is Ending.REFUSED
