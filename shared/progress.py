"""A progress bar on a terminal: the stage, n of m, how many a second, and the time left. Elsewhere nothing is shown."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    """What moves a bar on."""

    def __call__(self, count: int = 1, stage: str = "", /) -> None:
        """Add so many completed things, and show which stage the work has come to."""


@contextmanager
def progress(
    stage: str, total: Callable[[], int] | None = None, *, unit: str = "files", shown: bool = True
) -> Iterator[Advance]:
    """Show how far the block is, on standard error where that is a terminal; `total` is asked only then."""
    if not (shown and sys.stderr.isatty()):
        yield lambda _count=1, _stage="", /: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(stage, total=total() if total else None, rate="")

        def advance(count: int = 1, stage: str = "", /) -> None:
            bar.advance(task, count)
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            rate = f"{speed:.1f} {unit}/s" if speed else ""
            bar.update(task, description=stage or bar.tasks[0].description, rate=rate)

        yield advance
