"""A name as a person types it: whole, or so much of its beginning that it fits one thing only."""

from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

from shared.counts import plural
from shared.errors.inputs import AmbiguousReference

Item = TypeVar("Item")

MOST = 100  # that are counted


def ambiguous(kind: str, count: int) -> AmbiguousReference:
    """The error of a reference that fits `count` things of a kind; it does not quote the reference."""
    return AmbiguousReference(count=str(count) if count <= MOST else f"More than {MOST}", kind=plural(kind))


def named(items: Iterable[Item], reference: str, names: Callable[[Item], Collection[str]], *, kind: str) -> Item | None:
    """The item that has `reference` for a name, else the only one with a name that begins so; `None` if none does.

    Raises `AmbiguousReference`. An empty reference names nothing.
    """
    begins = [item for item in items if reference and any(name.startswith(reference) for name in names(item))]
    matching = [item for item in begins if reference in names(item)] or begins
    if len(matching) > 1:
        raise ambiguous(kind, len(matching))
    return matching[0] if matching else None
