"""Sites that wait for federated work, and what each is told: that work waits, or that it may stop asking.

A site is told at once when it begins to wait, with each notice of the engine, and when the runs that are open say
otherwise than what it heard last. So a notice that was lost costs a second, and no site has to ask.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog

from coordinator.federation.interface import RUNS
from coordinator.federation.notices import Notice, Notices
from coordinator.federation.registry import check_takes_part
from coordinator.home.identity import Clock, utc_now
from coordinator.store.interface import Reading, Store
from coordinator.store.signals import MISSED
from shared.errors.base import RicordError
from shared.ids import SiteId

_LOOK_SECONDS = 1.0

_log = structlog.get_logger("federation")


class Line(Protocol):
    """The open call of a site that waits."""

    def send(self, notice: Notice) -> None:
        """Send a notice; never waits, and a newer one may overtake one that could not leave yet."""

    def end(self) -> None:
        """End the call; the site asks again."""

    def on_end(self, forget: Callable[[], None]) -> None:
        """Call `forget` once, when the call has ended on either side."""


class _Waiting:
    """One site's open call, and what it heard last."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.heard: Notice | None = None

    def hear(self, notice: Notice) -> None:
        self.heard = notice
        self.line.send(notice)


class WaitingSites:
    """The open calls, one for each site: a later one replaces the one before."""

    def __init__(self, store: Store, *, clock: Clock = utc_now) -> None:
        self._store = store
        self._now = clock
        self._notices = Notices(store.signals)
        self._sites: dict[SiteId, _Waiting] = {}
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._ends = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Tell those who wait while the block runs; their calls end with it."""
        watch = threading.Thread(target=self._watch, name="waiting sites")
        with self._notices.listening(), self._store.signals.listening(self._hear):
            watch.start()
            try:
                yield
            finally:
                self._ends = True
                self._changed.set()
                watch.join()
        for waiting in self._all().values():
            waiting.line.end()

    def enter(self, site: SiteId, line: Line) -> None:
        """Let a site wait, and tell it what is so now. Raises what `check_takes_part` raises."""
        with self._store.read() as reading:
            check_takes_part(reading, site, self._now())
            notice: Notice = "work" if site in _busy(reading) else "stop"
        waiting = _Waiting(line)
        unsubscribe = self._notices.subscribe(site, waiting.hear)
        with self._lock:
            replaced, self._sites[site] = self._sites.get(site), waiting
        waiting.hear(notice)
        if replaced is not None:
            replaced.line.end()

        def forget() -> None:
            unsubscribe()
            with self._lock:
                if self._sites.get(site) is waiting:
                    del self._sites[site]

        line.on_end(forget)

    def _hear(self, word: str) -> None:
        """A run was asked for, stopped or taken up, or a word may have been lost."""
        if word in {RUNS, MISSED}:
            self._changed.set()

    def _watch(self) -> None:
        while not self._ends:
            self._changed.wait(_LOOK_SECONDS)
            self._changed.clear()
            try:
                self._look()
            except RicordError as error:  # the database is away: asked again
                _log.warning("waiting.blind", code=error.code)

    def _look(self) -> None:
        """Tell each site what changed for it; one that may take part no more has its call ended."""
        sites = self._all()
        if not sites:
            return
        with self._store.read() as reading:
            busy = _busy(reading)
            for site, waiting in sites.items():
                notice: Notice = "work" if site in busy else "stop"
                if waiting.heard == notice:
                    continue
                try:
                    check_takes_part(reading, site, self._now())
                    waiting.hear(notice)
                except RicordError:
                    waiting.line.end()

    def _all(self) -> dict[SiteId, _Waiting]:
        with self._lock:
            return dict(self._sites)


def _busy(reading: Reading) -> frozenset[SiteId]:
    """The sites on the rosters of runs that are open."""
    return frozenset(site for run in reading.runs("pending", "running", "stopping") for site in run.plan.roster)
