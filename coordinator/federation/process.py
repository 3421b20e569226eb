"""The federation process: a SuperLink that follows the agreements, and the store's pending runs, one at a time.

A run goes pending -> running -> done or failed. When this process stops in the middle of a run, training continues from
its last checkpoint at the next start; statistics have no checkpoint and are marked as failed.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import structlog

from coordinator.federation import registry
from coordinator.federation.grid import GridExchange, RosterGrid, Signer
from coordinator.federation.interface import LEADING
from coordinator.federation.kept_runs import KeptRuns
from coordinator.federation.registry import StoredNodes
from coordinator.federation.server_app import FOLDER, app
from coordinator.federation.superlink import SuperLink, SuperLinkSettings
from coordinator.federation.training import METRICS_FILE
from coordinator.home.identity import utc_now
from coordinator.store.interface import Store
from coordinator.store.records import Run
from shared.crypto.signing import SigningKey
from shared.errors.base import RicordError
from shared.federation.bundle import build_bundle
from shared.federation.exchange import Exchange
from shared.federation.plan import Plan

Statistics = Callable[[Plan, Exchange], bytes]  # canonical JSON of what may be shown

_TICK_SECONDS = 0.3
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
) -> None:
    """Serve until `stop` is set, or the lock `LEADING` is lost: then another process does.

    Checkpoints and figures of a run lie in `<settings.folder>/runs/<run id>/`, and in `kept`. Raises `PortInUse`, or
    `RunFailed` when Flower's SuperLink does not start.
    """
    with (
        SuperLink(settings, StoredNodes(store)) as superlink,
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="federated-run") as pool,
    ):
        worker = _Worker(store, superlink, settings.folder / "runs", statistics, stop, key=key, kept=kept)
        worker.recover_interrupted()
        current: Future[None] | None = None
        while not stop.is_set():
            superlink.sync()
            if current is None or current.done():
                pending = worker.next_pending()
                current = pool.submit(worker.execute, pending) if pending else None
            stop.wait(_TICK_SECONDS)
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

    def recover_interrupted(self) -> None:
        """Make unfinished training of a previous process pending again; mark its other unfinished runs failed."""
        with self._store.read() as reading:
            interrupted = reading.runs("running", "stopping")
        for run in interrupted:
            if run.state == "running" and run.plan.purpose == "training":
                self._put(run.model_copy(update={"state": "pending"}), "run taken up again")
            else:
                self._end(run, problem="the federation was stopped in the middle of it")

    def next_pending(self) -> Run | None:
        """The oldest pending run."""
        with self._store.read() as reading:
            return next(iter(reading.runs("pending")), None)

    def execute(self, run: Run) -> None:
        """Execute one run from start to end; never raises."""
        run = run.model_copy(update={"state": "running", "started_at": utc_now()})
        self._put(run, "run started")
        grid: RosterGrid | None = None
        try:
            with self._superlink.run(build_bundle()) as open_run:
                with self._store.read() as reading:
                    signer = Signer(self._key, registry.peers_of(reading, run.plan.roster))
                grid = RosterGrid(open_run.grid, run.plan, run.signed, self._superlink.nodes, signer)
                grid.stop_when(self._stopped(run))
                result = self._result(run, grid, open_run.context)
            self._end(run, result=result)
        except RicordError as error:
            if not self._stop.is_set():  # else it is recovered at the next start
                self._end(run, problem=" ".join((error.public, *_refusals(grid))))
        except Exception as error:  # noqa: BLE001 -- a defect or Flower's own error ends this run, not the federation
            _log.error("run.defect", run=run.id, kind=type(error).__name__)
            self._end(run, problem=f"it met a defect ({type(error).__name__}); the log says more")

    def _result(self, run: Run, grid: RosterGrid, context: object) -> str:
        if run.plan.purpose == "statistics":
            return self._statistics(run.plan, GridExchange(grid)).decode()
        folder = self._folder / run.id
        folder.mkdir(parents=True, exist_ok=True)
        self._kept.fetch(run.id, folder)
        grid.round_kept = lambda: self._kept.keep(run.id, folder)
        context.run_config = {FOLDER: str(folder)}  # type: ignore[attr-defined] # Flower's Context, not followed
        app(grid, context)
        return (folder / METRICS_FILE).read_text(encoding="utf-8")

    def _stopped(self, run: Run) -> Callable[[], bool]:
        """A function that says whether the run should end; it reads the store once a second."""
        last = [time.monotonic(), 0.0]

        def stopped() -> bool:
            if not last[1] and time.monotonic() - last[0] > 1:
                with self._store.read() as reading:
                    last[:] = [time.monotonic(), float(registry.run_of(reading, run.id).state == "stopping")]
            return self._stop.is_set() or bool(last[1])

        return stopped

    def _end(self, run: Run, *, result: str = "", problem: str = "") -> None:
        state = "failed" if problem else "done"
        update = {"state": state, "ended_at": utc_now(), "result": result, "problem": problem}
        self._put(run.model_copy(update=update), f"run {state}")

    def _put(self, run: Run, action: str) -> None:
        with self._store.begin() as work:
            work.append_event(at=utc_now(), actor=_ACTOR, action=action, about=run.id)
            work.put_run(run)
        _log.info(action.replace(" ", "."), run=run.id, purpose=run.plan.purpose)


def _refusals(grid: RosterGrid | None) -> list[str]:
    answers = grid.answers if grid else []
    return sorted({f"{answer.site}: {answer.refusal}." for answer in answers if answer.refusal})
