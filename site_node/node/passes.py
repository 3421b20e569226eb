"""One pass of the pipeline over a node's studies, and its result."""

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

from shared.errors import ExitCode, RicordError
from shared.ids import StudyKey
from shared.progress import progress
from site_node.home.folder import SiteHome
from site_node.home.ledger import ENDED, STATE_ORDER, Ledger, State
from site_node.node.open import Node, membership_of
from site_node.node.pipeline import BY_WORKERS, Advance, Pipeline, Progress, Workers, home_failed
from site_node.node.worker_processes import Processes
from site_node.pixels.client import PixelChecker

_SEVERAL = 2


@dataclass
class Pass:
    """The result of a pass: the last state that each study reached in it, and the error that blocked sending."""

    reached: dict[StudyKey, State] = field(default_factory=dict)
    progress: Progress = field(default_factory=lambda: Progress(moved=0, blocked=None))

    @property
    def exit_code(self) -> ExitCode:
        """The blocking error's code when sending was blocked, `PARTIAL` when a study ended without being submitted."""
        if self.progress.blocked is not None:
            return self.progress.blocked.exit_code
        unsubmitted = ENDED - {State.SUBMITTED}
        return ExitCode.PARTIAL if unsubmitted & set(self.reached.values()) else ExitCode.DONE


def run_pass(node: Node, until: State, *, halted: Callable[[], bool] = lambda: False, shown: bool = False) -> Pass:
    """Move every study up to the state `until`; connect only when there may be something to send.

    `halted` is called between two stages and ends the pass early. With `shown` a terminal shows how far it is.
    """
    completed = Pass()
    with ExitStack() as stack:
        submit = None
        if until is State.SUBMITTED and node.membership is not None and _may_send(node.ledger):
            from site_node.submit.client import submitting

            submit = stack.enter_context(submitting(node.home, node.membership))
        advance = stack.enter_context(
            progress("Studies", partial(_count_before, until, node.ledger), unit="studies", shown=shown)
        )

        def report(key: StudyKey, state: State) -> None:
            completed.reached[key] = state
            advance(int(state is until or state in ENDED), state.value)

        pipeline = Pipeline(
            node.home,
            node.ledger,
            node.stages.available(stack.enter_context(PixelChecker()), submit),
            originals_stay=node.settings.originals_stay,
            grows_for=node.settings.grows_for,
            report=report,
            halted=halted,
            shortage=node.free_space.shortage,
        )
        completed.progress = pipeline.run(until, _workers(node, halted, stack))
    return completed


def advance_study(home: Path, until: State, key: StudyKey) -> Advance:
    """Move one study of a home in a worker process, which opens the home once for itself."""
    try:
        return _pipeline(home).advance(key, until)
    except RicordError as error:
        return Advance(error=error)
    except (OSError, sqlite3.Error) as error:
        return Advance(error=home_failed(error))


@lru_cache(maxsize=1)
def _pipeline(folder: Path) -> Pipeline:
    """The pipeline of a worker; the process that started it holds the home's lock and ends the worker."""
    home = SiteHome(folder)
    node = Node(home, home.load(), Ledger(home.ledger), membership_of(home))
    return Pipeline(
        node.home,
        node.ledger,
        node.stages.available(PixelChecker()),
        originals_stay=node.settings.originals_stay,
        grows_for=node.settings.grows_for,
        shortage=node.free_space.shortage,
    )


def _workers(node: Node, halted: Callable[[], bool], stack: ExitStack) -> Workers | None:
    """Worker processes where several studies wait for their first stages; else this process does the work."""
    count = min(node.settings.worker_count, len(node.ledger.studies(*BY_WORKERS)))
    if count < _SEVERAL:
        return None
    engine = Processes(count, __name__, halted)
    stack.callback(engine.close)
    return lambda keys, until: engine.run(partial(advance_study, node.home.folder, until), keys)


def _count_before(until: State, ledger: Ledger) -> int:
    """How many studies have not come to `until` and may."""
    return len(ledger.studies(*STATE_ORDER[: STATE_ORDER.index(until)]))


def _may_send(ledger: Ledger) -> bool:
    return any(entry.state not in ENDED for entry in ledger.studies())
