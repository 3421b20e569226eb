"""Show how a list is being fetched: a bar on a terminal, elsewhere lines of JSON, both on standard error."""

import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from shared.counts import counted
from site_node.node.fetch import FetchProgress
from site_node.node.log_codes import silent

log = structlog.get_logger(__name__)

_BAR_SECONDS = 0.5
_LINE_SECONDS = 30.0

Read = Callable[[], FetchProgress]


@contextmanager
def shown(read: Read) -> Iterator[None]:
    """Show what `read` returns until the block ends, and once more at its end."""
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        with _repeated(_LINE_SECONDS, lambda: _log(read())):
            yield
        return
    columns = (TextColumn("Fetching rows"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[images]}"))
    more = (TimeRemainingColumn(), TextColumn("{task.fields[next_try]}"))
    with silent(), Progress(*columns, *more, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, images="", next_try="")
        began, before = time.monotonic(), read().images

        def update() -> None:
            now = read()
            rate = (now.images - before) / (time.monotonic() - began)
            images = f"{counted(now.images, 'image')}, {rate:.1f} images/s"
            next_try = f"next try at {now.next_try.astimezone():%H:%M:%S}" if now.next_try else ""
            bar.update(task, total=now.rows, completed=now.ended, images=images, next_try=next_try)

        with _repeated(_BAR_SECONDS, update):
            yield


def _log(now: FetchProgress) -> None:
    log.info("pacs.progress", rows=now.rows, ended=now.ended, images=now.images, next_try=str(now.next_try or ""))


@contextmanager
def _repeated(seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """Act at once and every so many seconds in a thread until the block ends, and once more at its end."""
    ended = threading.Event()

    def repeat() -> None:
        while True:
            with suppress(sqlite3.Error, OSError):  # the ledger is busy; the next time will do
                act()
            if ended.wait(seconds):
                return

    thread = threading.Thread(target=repeat, name="fetch-progress")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with suppress(sqlite3.Error, OSError):
            act()
