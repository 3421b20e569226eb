"""What the engine says to sites without being asked: that messages wait for them, or that they take no part any more.

The engine is one process of the federation and the main port may be another one's, so notices go by the store's
signals. A notice may be lost; a site that hears none for a while asks the fleet port by itself.
"""

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from coordinator.federation.interface import Signals
from shared.ids import SiteId

Notice = Literal["work", "stop"]
Heard = Callable[[Notice], None]
EVERYBODY = "*"
_TOPIC = "fleet"
_SITES_IN_A_WORD = 500


class Notices:
    """Notices by site: the engine posts them, the main port subscribes to them for each site that waits."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._lock = threading.Lock()
        self._heard: dict[str, set[Heard]] = {}

    def post(self, notice: Notice, sites: Collection[SiteId]) -> None:
        """Say it to these sites, wherever they wait."""
        names = list[str](sites)
        for start in range(0, len(names), _SITES_IN_A_WORD):
            self._signals.send(" ".join((_TOPIC, notice, *names[start : start + _SITES_IN_A_WORD])))

    def post_to_everybody(self, notice: Notice) -> None:
        """Say it to every site that waits: an engine that starts does not know whom an earlier one left waiting."""
        self._signals.send(f"{_TOPIC} {notice} {EVERYBODY}")

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Pass notices on to subscribers while the block runs."""
        with self._signals.listening(self._hear):
            yield

    def subscribe(self, site: SiteId, heard: Heard) -> Callable[[], None]:
        """Call `heard` with each notice to the site, on one thread for all sites, so it must not wait.

        Returns what ends the subscription. What was posted before is not repeated: whoever subscribes asks first.
        """
        with self._lock:
            self._heard.setdefault(site, set()).add(heard)

        def end() -> None:
            with self._lock:
                left = self._heard.get(site, set())
                left.discard(heard)
                if not left:
                    self._heard.pop(site, None)

        return end

    def _hear(self, word: str) -> None:
        """Words of other topics are not ours; where some were missed, everybody looks whether work waits."""
        match word.split() if word else (_TOPIC, "work", EVERYBODY):
            case [topic, notice, *sites] if topic == _TOPIC and notice in get_args(Notice):
                pass
            case _:
                return
        with self._lock:
            names = list(self._heard) if EVERYBODY in sites else sites
            callbacks = [heard for name in names for heard in self._heard.get(name, ())]
        for heard in callbacks:
            heard(notice)  # type: ignore[arg-type] # it is one of them, which mypy does not infer
