"""What coordinators and researchers may ask of cohort summaries. Computing one is a federated run like any other."""

from collections.abc import Sequence
from typing import Protocol

from coordinator.cohort.policies import Policy
from coordinator.store.interface import Store
from coordinator.store.records import Cohort, Run
from shared.errors import NotFound
from shared.federation.plan import PlanRequest, StatisticsTask
from shared.ids import SiteId
from shared.manifest import canonical_json


class Runs(Protocol):
    """What starts a federated run: `coordinator.federation.service.FederationService`."""

    def start_run(self, request: bytes, *, actor: str) -> Run:
        """Queue a run for the federation process."""
        ...


class CohortService:
    """Computing, listing and showing released tables."""

    def __init__(self, store: Store, runs: Runs) -> None:
        self._store = store
        self._runs = runs

    def compute(self, name: str, policy: str, sites: Sequence[SiteId] = (), *, actor: str) -> Run:
        """Queue a run that pools the sites' counts; no sites: all whose agreement covers it.

        Raises `InvalidArgument` for a policy that does not exist, `PlanInvalid` or `AgreementModeNotAllowed`.
        """
        task = StatisticsTask(cohort=name, policy=Policy.named(policy).name)
        request = PlanRequest(purpose="statistics", sites=tuple(sites), statistics=task)
        return self._runs.start_run(canonical_json(request), actor=actor)

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
