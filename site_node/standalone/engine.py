"""How tasks are carried out: here, one after the other, or by an engine of its own module."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")

TRIES = 2  # a worker that is killed takes its task with it once


class Engine(Protocol):
    """Carries out tasks in any order. It takes no more of them at a time than it has workers for."""

    def run(self, work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[T, R | None]]:
        """Each task with what `work` made of it; `None` where its worker died each time."""

    def close(self) -> None:
        """Let the workers go; what is under way ends without a result."""


class Inline:
    """In this process."""

    def run(self, work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[T, R | None]]:
        """One task after the other."""
        for task in tasks:
            yield task, work(task)

    def close(self) -> None:
        """There is nothing to let go."""
