"""Who works on studies: this process, or worker processes where enough work waits for them.

A worker takes 1.3 s of CPU until it is as far as a process that works already: it imports the stages, opens the home
and loads the models that search for text. Two workers and one process took equally long for about 3 s of work; each
worker must find `START_SECONDS`, a little more than its half, and there are none where there would be one.
"""

import atexit
import sqlite3
from collections.abc import Callable
from functools import cache, lru_cache, partial
from pathlib import Path

from shared.errors.base import RicordError
from shared.ids import StudyKey
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.membership.record import Membership
from site_node.node.obstacles import home_failed
from site_node.node.open import Node
from site_node.node.pipeline import BY_WORKERS, Advance, Pipeline, Workers
from site_node.node.worker_processes import Processes
from site_node.pixels.client import PixelChecker

START_SECONDS = 2.0
SEARCH_SECONDS, IMAGE_SECONDS = 0.5, 0.005  # a film of 10 MB; a CT slice of 0.5 MB: 2 cores of an AMD EPYC
_SEVERAL = 2


class Crew:
    """The text detector and the workers of a command or service, each started when first needed.

    They stay from one pass to the next until `close`; later ones may be needed again. Once `halted` says so, no worker
    is waited for.
    """

    def __init__(self, halted: Callable[[], bool] = lambda: False) -> None:
        self.checker = PixelChecker()
        self._halted = halted
        self._engine: Processes | None = None
        self._count = 0

    def close(self) -> None:
        """End the detector and all workers; a stage in the middle of which a worker is ended will be done again."""
        self.checker.close()
        if self._engine is not None:
            self._engine.close()
        self._engine, self._count = None, 0

    def workers(self, node: Node, until: State) -> Workers | None:
        """Those that move studies, the largest first; `None` where this process is to do it."""
        if until is State.INCLUDED or node.membership is None:  # the screen reads headers only
            return None
        entries = node.ledger.studies(*BY_WORKERS)
        images = {entry.key: node.ledger.image_count(entry.key) for entry in entries}
        searches = sum(entry.state is not State.DEIDENTIFIED for entry in entries) if node.settings.pixel_check else 0
        seconds = SEARCH_SECONDS * searches + IMAGE_SECONDS * sum(images.values())
        count = min(node.settings.worker_count, len(images), int(seconds / START_SECONDS))
        if count >= _SEVERAL and count > self._count:
            self.close()
            self._engine, self._count = Processes(count, __name__, self._halted), count
        if self._engine is None:
            return None
        engine, work = self._engine, partial(advance_study, node.home.folder, node.membership)
        return lambda keys, limit: engine.run(
            partial(work, limit), sorted(keys, key=lambda key: images.get(key, 0), reverse=True)
        )


def advance_study(home: Path, membership: Membership | None, until: State, key: StudyKey) -> Advance:
    """Move one study of a home in a worker process, which opens the home once for itself."""
    try:
        return _pipeline(home, membership).advance(key, until)
    except RicordError as error:
        return Advance(error=error)
    except (OSError, sqlite3.Error) as error:
        return Advance(error=home_failed(error))


@lru_cache(maxsize=1)
def _pipeline(folder: Path, membership: Membership | None) -> Pipeline:
    """The pipeline of a worker; the process that started it holds the home's lock and ends the worker."""
    home = SiteHome(folder)
    node = Node(home, home.load(), Ledger(home.ledger), membership)
    return Pipeline(
        node.home,
        node.ledger,
        node.stages.available(_checker()),
        originals_stay=node.settings.originals_stay,
        grows_for=node.settings.grows_for,
        shortage=node.free_space.shortage,
    )


@cache
def _checker() -> PixelChecker:
    """The text detector of a worker, which waits for its end."""
    checker = PixelChecker()
    atexit.register(checker.close)
    return checker
