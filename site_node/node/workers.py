"""Who carries out tasks: the interface, and the engine that works in this process."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")

TRIES = 2  # a worker that is killed takes its task with it once


class Engine(Protocol):
    """Carries out tasks in any order. It draws no more of them at a time than it has workers for."""

    @property
    def is_local(self) -> bool:
        """Whether its workers read this machine's temporary files."""

    def run(self, work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[T, R | None]]:
        """Each task with the result of `work`; `None` where its worker died each time."""

    def close(self) -> None:
        """End the workers; tasks under way end without a result."""


class Inline:
    """Works in this process."""

    is_local = True

    def run(self, work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[T, R | None]]:
        """One task after the other."""
        for task in tasks:
            yield task, work(task)

    def close(self) -> None:
        """Nothing to end."""
