"""The federation process: a SuperLink that follows the agreements, and the store's pending runs, side by side.

A run goes pending -> running -> done or failed. When this process stops in the middle of a run, training continues from
its last checkpoint at the next start; statistics have no checkpoint and are marked as failed.
"""

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path

import structlog

from coordinator.federation import registry
from coordinator.federation.answers import largest_answer
from coordinator.federation.checkpoints import METRICS_FILE
from coordinator.federation.evaluation import run_evaluation
from coordinator.federation.grid import GridExchange, RosterGrid, Signer
from coordinator.federation.interface import LEADING, RUNS
from coordinator.federation.kept_runs import KeptRuns
from coordinator.federation.notices import Notices
from coordinator.federation.registry import StoredNodes
from coordinator.federation.server_app import FOLDER, app
from coordinator.federation.superlink import SuperLink, SuperLinkSettings
from coordinator.home.identity import utc_now
from coordinator.store.interface import Store
from coordinator.store.records import Run
from shared.crypto.signing import SigningKey
from shared.errors.base import RicordError
from shared.errors.federation import RunFailed
from shared.federation.bundle import build_bundle
from shared.federation.exchange import Exchange
from shared.federation.plan import Plan, Purpose
from shared.ids import RunId, SiteId
from shared.manifest import canonical_json

Statistics = Callable[[Plan, Exchange], bytes]  # canonical JSON of what may be shown

# One release after the other, beside trainings.
AT_ONCE: Mapping[Purpose, int] = {"statistics": 1, "training": 2, "evaluation": 1}
_TICK_SECONDS = 0.5  # a new run wakes the loop at once; agreements and certificates are looked at so often
_FRESH_SECONDS = 0.1  # so long a message may pass after an agreement has ended
_PROGRESS_SECONDS = 1.0
_DECISION_SECONDS = 30.0  # after which sites are asked again whether they have decided on a run
_ACTOR = "federation"
NOT_SHARED = KeptRuns(None)
_log = structlog.get_logger("federation")


def serve_federation(
    store: Store,
    settings: SuperLinkSettings,
    *,
    statistics: Statistics,
    key: SigningKey,
    stop: threading.Event,
    kept: KeptRuns = NOT_SHARED,
    alive: Callable[[], None] = lambda: None,
) -> None:
    """Serve until `stop` is set, or the lock `LEADING` is lost: then another process does.

    `alive` is called each time that store, port and LinkState have answered, which is about twice a second. Checkpoints
    and figures of a run lie in `<settings.folder>/runs/<run id>/`, and in `kept`. Raises `PortInUse`, or `RunFailed`
    when the fleet port does not open or has closed.
    """
    superlink = SuperLink(settings, StoredNodes(store, fresh_seconds=_FRESH_SECONDS), Notices(store.signals))
    wanted = threading.Event()
    with (
        superlink,
        store.signals.listening(lambda word: wanted.set() if word in (RUNS, "") else None),
        ThreadPoolExecutor(sum(AT_ONCE.values()), thread_name_prefix="federated-run") as pool,
    ):
        worker = _Worker(store, superlink, settings.folder / RUNS, statistics, stop, key=key, kept=kept)
        worker.recover_interrupted()
        running = dict[RunId, Purpose]()

        def ended(run: RunId, _: object) -> None:
            running.pop(run)
            wanted.set()

        while not stop.is_set():
            wanted.clear()
            superlink.sync()
            for run in worker.next_pending(running):
                running[run.id] = run.plan.purpose
                pool.submit(worker.execute, run).add_done_callback(partial(ended, run.id))
            if superlink.has_answered():
                alive()
            wanted.wait(_TICK_SECONDS)
            if not store.locks.holds(LEADING):
                _log.error("federation lost its lock")
                stop.set()


class _Worker:
    """Executes runs from the store and records how they end."""

    def __init__(
        self,
        store: Store,
        superlink: SuperLink,
        folder: Path,
        statistics: Statistics,
        stop: threading.Event,
        *,
        key: SigningKey,
        kept: KeptRuns = NOT_SHARED,
    ) -> None:
        self._store = store
        self._key = key
        self._superlink = superlink
        self._folder = folder
        self._statistics = statistics
        self._stop = stop
        self._kept = kept
        self._later = dict[RunId, float]()  # runs for which sites decide, and when to ask them again
        self._absent = set[SiteId]()  # waited for in vain by some run, and not back since

    def recover_interrupted(self) -> None:
        """Make unfinished training of a previous process pending again; mark its other unfinished runs failed."""
        with self._store.read() as reading:
            interrupted = reading.runs("running", "stopping")
        for run in interrupted:
            if run.state == "running" and run.plan.purpose == "training":
                self._put(run.model_copy(update={"state": "pending"}), "run taken up again")
            else:
                self._end(run, problem="the federation was stopped in the middle of it")

    def next_pending(self, running: Mapping[RunId, Purpose]) -> Sequence[Run]:
        """The oldest pending runs of each purpose, as many as may begin beside those that are `running`.

        One for which sites decide is asked about again in a while, and keeps no other from beginning.
        """
        at_once, chosen = Counter(running.values()), list[Run]()
        elsewhere = running.keys() | {run for run, due in self._later.items() if due > time.monotonic()}
        with self._store.read() as reading:
            for purpose, most in AT_ONCE.items():
                limit = 2 * most + len(elsewhere)  # some may just have begun
                pending = reading.runs("pending", purpose=purpose, limit=limit)
                chosen += [run for run in pending if run.id not in elsewhere][: most - at_once[purpose]]
        return chosen

    def execute(self, run: Run) -> None:
        """Execute one run from start to end, unless it was stopped since it was chosen."""
        run = run.model_copy(update={"state": "running", "started_at": utc_now()})
        if not self._put(run, "" if run.id in self._later else "run started", begins=True):
            return
        grid: RosterGrid | None = None
        try:
            with self._superlink.run(build_bundle(), largest=largest_answer(run.plan)) as open_run:
                with self._store.read() as reading:
                    signer = Signer(self._key, registry.peers_of(reading, run.plan.roster))
                nodes = self._superlink.nodes
                grid = RosterGrid(open_run.grid, run.plan, run.signed, nodes, signer, absent=self._absent)
                grid.stop_when(self._stopped(run))
                grid.progress = self._progress(run)
                if (undecided := grid.undecided()) and utc_now() < _waits_until(run.plan):
                    self._wait(run, undecided)
                    return
                self._later.pop(run.id, None)
                result = self._result(run, grid, open_run.context)
            self._end(run, result=result)
        except RicordError as error:
            if not self._stop.is_set():  # else it is recovered at the next start
                problem = f"{error.fields['problem']}." if isinstance(error, RunFailed) else error.public
                self._end(run, problem=" ".join((problem, *_refusals(grid))))
        except Exception as error:  # noqa: BLE001 -- a defect or Flower's own error ends this run, not the federation
            _log.error("run.defect", run=run.id, kind=type(error).__name__)
            self._end(run, problem=f"it met a defect ({type(error).__name__}); the log says more")

    def _result(self, run: Run, grid: RosterGrid, context: object) -> str:
        if run.plan.purpose == "statistics":
            return self._statistics(run.plan, GridExchange(grid)).decode()
        evaluation = run.plan.evaluated
        trained = run.id if evaluation is None else evaluation.run
        folder = self._folder / trained
        folder.mkdir(parents=True, exist_ok=True)
        self._kept.fetch(trained, folder)
        if evaluation is not None:
            return canonical_json(run_evaluation(grid, folder)).decode()
        grid.round_kept = lambda: self._round_kept(run, folder)
        context.run_config = {FOLDER: str(folder)}  # type: ignore[attr-defined] # Flower's Context, not followed
        app(grid, context)
        return (folder / METRICS_FILE).read_text(encoding="utf-8")

    def _round_kept(self, run: Run, folder: Path) -> None:
        """Keep a round's model where the next process finds it, and its figures where who watches the run does."""
        self._kept.keep(run.id, folder)
        with contextlib.suppress(RicordError), self._store.begin(synced=False) as work:
            figures = (folder / METRICS_FILE).read_text(encoding="utf-8")
            work.put_run(registry.run_of(work, run.id).model_copy(update={"result": figures}))

    def _wait(self, run: Run, undecided: Sequence[SiteId]) -> None:
        """Let a run wait for sites to decide; a run that was stopped meanwhile ends."""
        with self._store.begin() as work:
            if registry.run_of(work, run.id).state != "stopping":
                said = f"waits for a decision at {', '.join(undecided)}"
                work.put_run(run.model_copy(update={"state": "pending", "progress": said}))
                self._later[run.id] = time.monotonic() + _DECISION_SECONDS
                return
        self._end(run, problem="it was stopped.")

    def _stopped(self, run: Run) -> Callable[[], bool]:
        """A function that says whether the run should end; it reads the store once a second."""
        last = [time.monotonic(), 0.0]

        def stopped() -> bool:
            if not last[1] and time.monotonic() - last[0] > 1:
                with self._store.read() as reading:
                    last[:] = [time.monotonic(), float(registry.run_of(reading, run.id).state == "stopping")]
            return self._stop.is_set() or bool(last[1])

        return stopped

    def _progress(self, run: Run) -> Callable[[str], None]:
        """A function that keeps in the run's row what it waits for, once a second at most."""
        last: tuple[float, str] = (float("-inf"), "")

        def progress(what: str) -> None:
            nonlocal last
            if what == last[1] or time.monotonic() - last[0] < _PROGRESS_SECONDS:
                return
            last = time.monotonic(), what
            with contextlib.suppress(RicordError), self._store.begin(synced=False) as work:
                current = registry.run_of(work, run.id)  # it may have been stopped meanwhile
                work.put_run(current.model_copy(update={"progress": what}))

        return progress

    def _end(self, run: Run, *, result: str = "", problem: str = "") -> None:
        state = "failed" if problem else "done"
        if problem:
            with self._store.read() as reading:  # who stopped it may have said why
                problem = registry.run_of(reading, run.id).problem or problem
        stopped = str(json.loads(result or "{}").get("stopped", ""))
        update = {"state": state, "ended_at": utc_now(), "result": result, "problem": problem, "progress": stopped}
        self._put(run.model_copy(update=update), f"run {state}")

    def _put(self, run: Run, action: str, *, begins: bool = False) -> bool:
        """Keep a run, with an audit event; one that begins only while it is pending. Returns whether it was kept."""
        with self._store.begin() as work:
            if begins and registry.run_of(work, run.id).state != "pending":
                return False
            if action:
                work.append_event(at=utc_now(), actor=_ACTOR, action=action, about=run.id)
            work.put_run(run)
        if action:
            _log.info(action.replace(" ", "."), run=run.id, purpose=run.plan.purpose)
        return True


def _waits_until(plan: Plan) -> datetime:
    """When a run begins without the sites that have yet to decide: half of its plan's life is left to it."""
    return plan.created_at + (plan.expires_at - plan.created_at) / 2


def _refusals(grid: RosterGrid | None) -> list[str]:
    answers = grid.answers if grid else []
    return sorted({f"{answer.site}: {answer.refusal}." for answer in answers if answer.refusal})
