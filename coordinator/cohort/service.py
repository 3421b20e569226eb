"""What coordinators and researchers may ask of cohort summaries. Computing one is a federated run like any other."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from coordinator.cohort.policies import Policy
from coordinator.store.interface import Store
from coordinator.store.records import Cohort, Run
from shared.errors import NotFound, RunFailed
from shared.federation.plan import PlanRequest, StatisticsTask
from shared.ids import SiteId
from shared.manifest import canonical_json

_POLL_SECONDS = 0.2


class Runs(Protocol):
    """The federated runs that cohorts need; `coordinator.federation.service.FederationService` provides them."""

    def start_run(self, request: bytes, *, actor: str) -> Run:
        """Queue a run for the federation process."""
        ...

    def run(self, name: str) -> Run:
        """One run in its present state."""
        ...


class CohortService:
    """Computing, listing and showing released tables."""

    def __init__(
        self,
        store: Store,
        runs: Runs,
        *,
        wait_seconds: float = 600,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._runs = runs
        self._wait_seconds = wait_seconds
        self._sleep = sleep
        self._monotonic = monotonic

    def compute(self, name: str, policy: str, sites: Sequence[SiteId] = (), *, actor: str) -> Cohort:
        """Have the sites' counts pooled and wait for the table; no sites: all whose agreement covers it.

        Raises `InvalidArgument` for a policy that does not exist, `PlanInvalid`, `AgreementModeNotAllowed`, or
        `RunFailed` with the run's reason.
        """
        task = StatisticsTask(cohort=name, policy=Policy.named(policy).name)
        request = PlanRequest(purpose="statistics", sites=tuple(sites), statistics=task)
        run = self._runs.start_run(canonical_json(request), actor=actor)
        deadline = self._monotonic() + self._wait_seconds
        while run.state not in {"done", "failed"}:
            if self._monotonic() > deadline:
                raise RunFailed(problem=f"run {run.id} has no result yet; ask for cohort {run.id} later")
            self._sleep(_POLL_SECONDS)
            run = self._runs.run(run.id)
        if run.state == "failed":
            raise RunFailed(problem=run.problem.rstrip(".") or "the log says more")
        return self.cohort(run.id)

    def cohort(self, name: str) -> Cohort:
        """One released table; raises `NotFound`."""
        with self._store.read() as reading:
            cohort = reading.cohort(name)
        if cohort is None:
            raise NotFound(kind="cohort", name=name)
        return cohort

    def cohorts(self) -> Sequence[Cohort]:
        """Every released table, the oldest first."""
        with self._store.read() as reading:
            return reading.cohorts()
