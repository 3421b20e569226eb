"""Shared by the verbs: the home that `--home` names, and common options."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.errors import InvalidArgument

if TYPE_CHECKING:
    from site_node.home.folder import SiteHome
    from site_node.node.open import Node


def _checked_name(context: typer.Context, name: str) -> str:
    """A person's name as one line; raises `InvalidArgument` where there is none."""
    text = " ".join(name.split())
    if not context.resilient_parsing and not (text and text.isprintable()):
        raise InvalidArgument(name="--as", problem="say who decides, by name, or set RICORD_SITE_PERSON; it is kept")
    return text


Person = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="NAME",
        envvar="RICORD_SITE_PERSON",
        callback=_checked_name,
        help="Who decides: a person's name, kept in the home's audit.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script instead of text.")]


def home_of(context: typer.Context) -> "SiteHome":
    """The home named by `--home` or `RICORD_SITE_HOME`; raises `InvalidArgument` when neither is given."""
    from site_node.home.folder import SiteHome

    if not isinstance(context.obj, Path):
        raise InvalidArgument(name="--home", problem="name the site's home, or set RICORD_SITE_HOME")
    return SiteHome(context.obj.expanduser().absolute())


@contextmanager
def node_of(context: typer.Context, *, writing: bool = True) -> "Iterator[Node]":
    """Open the home for a command; see `site_node.node.open.open_node`."""
    from site_node.node.open import open_node

    with open_node(home_of(context), writing=writing) as node:
        yield node
