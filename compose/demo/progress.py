"""One line for each step: when it began, what it does, how it ended."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

WIDTH = 130  # columns where the output is not a terminal


class Steps:
    """Prints the steps and remembers the time and the notes of each."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() else WIDTH)
        self.began = time.monotonic()
        self.done: list[dict[str, str | float]] = []

    @contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """Run one step; the notes that the body appends to the list are printed below the title."""
        start = time.monotonic()
        notes: list[str] = []
        self.console.print(f"[dim]{start - self.began:6.1f} s[/dim]  {title} …")
        yield notes
        seconds = time.monotonic() - start
        self.done.append({"step": title, "seconds": round(seconds, 2), "outcome": "; ".join(notes) or "done"})
        self.console.print(f"          [green]✓[/green] {'; '.join(notes) or 'done'} [dim]({seconds:.1f} s)[/dim]")

    def skipped(self, title: str, reason: str) -> None:
        """Say that a step had no input."""
        self.done.append({"step": title, "seconds": 0.0, "outcome": f"skipped: {reason}"})
        self.console.print(f"          [yellow]-[/yellow] {title}: skipped: {reason}")
