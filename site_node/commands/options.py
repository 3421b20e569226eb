"""Shared by the verbs: the home that `--home` names, and common options."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.errors.inputs import InvalidArgument
from shared.errors.settings import HomeBusy, NodeRuns

if TYPE_CHECKING:
    from site_node.home.folder import SiteHome
    from site_node.node.open import Node


def checked_name(name: str) -> str:
    """A person's name as one line; raises `InvalidArgument` where there is none."""
    text = " ".join(name.split())
    if not (text and text.isprintable()):
        raise InvalidArgument(name="--as", problem="say who decides, by name, or set RICORD_SITE_PERSON; it is kept")
    return text


def _checked_option(context: typer.Context, name: str) -> str:
    return name if context.resilient_parsing else checked_name(name)


_AS: dict[str, Any] = {
    "metavar": "NAME",
    "envvar": "RICORD_SITE_PERSON",
    "help": "Who decides: a person's name, kept in the home's audit.",
}
Person = Annotated[str, typer.Option("--as", callback=_checked_option, **_AS)]
PersonIfAny = Annotated[str, typer.Option("--as", **_AS)]  # for `checked_name`, where the command may decide nothing
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script instead of text.")]


def home_of(context: typer.Context) -> "SiteHome":
    """The home named by `--home` or `RICORD_SITE_HOME`; raises `InvalidArgument` when neither is given."""
    from site_node.home.folder import SiteHome

    if not isinstance(context.obj, Path):
        raise InvalidArgument(name="--home", problem="name the site's home, or set RICORD_SITE_HOME")
    return SiteHome(context.obj.expanduser().absolute())


@contextmanager
def node_of(context: typer.Context, *, writing: bool = True) -> "Iterator[Node]":
    """Open the home for a command; see `site_node.node.open.open_node`. Raises `NodeRuns` where a node has the lock."""
    from site_node.node.open import open_node

    home = home_of(context)
    with ExitStack() as stack:
        try:
            node = stack.enter_context(open_node(home, writing=writing))
        except HomeBusy:
            if home.is_served():
                raise NodeRuns(seconds=f"{home.load().poll_seconds:g}") from None
            raise
        yield node
