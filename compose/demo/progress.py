"""One line for each step: when it began, what it does, what came of it."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

WIDTH = 130  # columns where nobody looks at a terminal


class Steps:
    """Prints the steps and remembers how long each took and what it said."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() else WIDTH)
        self.began = time.monotonic()
        self.done: list[dict[str, str | float]] = []

    @contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """Run one step; what the body appends to the list is shown behind the title."""
        start = time.monotonic()
        said: list[str] = []
        self.console.print(f"[dim]{start - self.began:6.1f} s[/dim]  {title} …")
        yield said
        seconds = time.monotonic() - start
        self.done.append({"step": title, "seconds": round(seconds, 2), "outcome": "; ".join(said) or "done"})
        self.console.print(f"          [green]✓[/green] {'; '.join(said) or 'done'} [dim]({seconds:.1f} s)[/dim]")

    def skipped(self, title: str, reason: str) -> None:
        """Say that a step had no input."""
        self.done.append({"step": title, "seconds": 0.0, "outcome": f"skipped: {reason}"})
        self.console.print(f"          [yellow]-[/yellow] {title}: skipped: {reason}")
