"""The error tree and its public table."""

import string
from pathlib import Path

import pytest

from shared import errors
from shared.errors.base import ExitCode, InternalError, RicordError, code_of
from shared.errors.tree import THEMES, all_errors, error_for
from shared.errors.trust import TokenInvalid


def test_the_tree_holds_every_theme() -> None:
    """An error of any module of `shared/errors` is known by its code, whoever names it."""
    modules = {path.stem for path in Path(errors.__path__[0]).glob("*.py")} - {"__init__", "base", "tree"}
    assert modules == {theme.__name__.rpartition(".")[2] for theme in THEMES}


def test_a_kind_of_an_error_hides_it_from_nobody() -> None:
    """Whatever can be raised is known by its code, also where another error is a kind of it."""
    assert type(error_for("token-invalid", {})) is TokenInvalid
    assert all(type(error_for(code_of(above), {})) is above for kind in all_errors() for above in with_sentences(kind))


def with_sentences(kind: type[RicordError]) -> list[type[RicordError]]:
    return [above for above in kind.__mro__ if issubclass(above, RicordError) and hasattr(above, "text")]


@pytest.mark.parametrize("kind", all_errors(), ids=code_of)
def test_a_public_text_is_one_sentence_that_ends(kind: type[RicordError]) -> None:
    """A person reads whole sentences, and the process never ends with success."""
    text = kind.text
    assert text.sentence.endswith(".")
    assert text.exit_code is not ExitCode.DONE
    assert text.status.isupper()


@pytest.mark.parametrize("kind", all_errors(), ids=code_of)
def test_an_error_survives_the_wire(kind: type[RicordError]) -> None:
    """Code and fields are enough to build the same error on the other side; the private text stays behind."""
    names = [name for _, name, _, _ in string.Formatter().parse(kind.text.sentence) if name]
    sent = kind("for the log only", **dict.fromkeys(names, "x"))
    arrived = error_for(sent.code, sent.fields)
    assert type(arrived) is kind
    assert arrived.public == sent.public
    assert "for the log only" not in arrived.public
    assert arrived.private == ""


def test_an_unknown_code_becomes_an_internal_error() -> None:
    """A newer peer's error is still an error."""
    assert isinstance(error_for("no-such-code", {}), InternalError)


def test_a_missing_field_does_not_hide_the_sentence() -> None:
    """A defect in raising an error must not replace it by another one."""
    assert "?" in error_for("port-in-use", {}).public
