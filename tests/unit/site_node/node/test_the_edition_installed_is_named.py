"""What is said of the edition installed: whether the agreement covers it, whether it is in use, and what it changes."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shared.ids import Sha256
from site_node.explain.editions import statements_of
from site_node.home.editions import KeptEdition, KeptEditions
from site_node.node.edition import begin_edition
from site_node.node.open import Node, open_node
from site_node.node.standing import changes_here, standing_of_edition
from tests.factories.pipeline import make_home

NOW = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with open_node(make_home(tmp_path / "home")) as node:
        yield node


def member(node: Node, digest: str, *, is_covered: bool = True) -> Node:
    """The node under an agreement that names an edition."""
    terms = SimpleNamespace(covers=lambda _: is_covered)
    membership: Any = SimpleNamespace(terms=terms, protocol_digest=digest)
    return replace(node, membership=membership)


@pytest.mark.parametrize("is_used", [False, True])
def test_whether_it_is_covered_and_in_use_is_said(node: Node, is_used: bool) -> None:
    """One that is not covered is never in use, so nothing more is said of it."""
    if is_used:
        begin_edition(node)
    end = "it is in use." if is_used else "it is in use from the next pass on."
    assert standing_of_edition(node).endswith(f"This site is not enrolled; {end}")
    assert standing_of_edition(member(node, node.edition.digest)).endswith(f"The agreement covers it; {end}")
    without = standing_of_edition(member(node, "a" * 64, is_covered=False))
    assert "in use" not in without
    assert "not cover" in without
    edition = node.edition
    named = f"Edition {edition.edition} of {edition.protocol} is installed ({edition.digest[:16]}…). "
    assert all(text.startswith(named) for text in (standing_of_edition(node), without))


def test_it_is_compared_with_the_one_agreed_to_else_with_the_last(node: Node) -> None:
    """Not with itself; where nothing else was ever in use here, that is said."""
    kept = KeptEditions(node.home)
    statements = statements_of(node.protocol)
    kept.keep(KeptEdition(edition=node.edition, begun_at=NOW, statements=statements))
    assert "no other edition" in list(changes_here(node))[1]
    for number, edition in enumerate(("2020.1", "2021.1")):
        named = node.edition.model_copy(update={"edition": edition, "digest": Sha256(str(number) * 64)})
        kept.keep(KeptEdition(edition=named, begun_at=NOW + timedelta(days=number), statements=statements))
    assert list(changes_here(node))[1:] == [
        "It is compared with edition 2021.1, the last one before it here.",
        "Only notes or the order of its parts differ.",
    ]
    agreed = "It is compared with edition 2020.1, which the agreement names."
    assert list(changes_here(member(node, "0" * 64)))[1] == agreed
    kept.use(Sha256("0" * 64))
    assert list(changes_here(node))[1] == agreed


@pytest.mark.parametrize("is_covered", [False, True])
def test_an_edition_begins_where_the_agreement_covers_it(node: Node, is_covered: bool) -> None:
    """Once; before enrolment whatever is installed does."""
    kept = KeptEditions(node.home)
    begin_edition(member(node, "a" * 64, is_covered=is_covered))
    assert kept.in_use == (node.edition.digest if is_covered else None)
    assert len(kept.all()) == is_covered
    begin_edition(node)
    assert (kept.in_use, len(kept.all())) == (node.edition.digest, 1)
