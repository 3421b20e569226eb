"""What coordinators and researchers may ask of cohort summaries. Computing one is a federated run like any other."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from coordinator.agreements.lookup import named_site_id
from coordinator.store.interface import Reading, Store
from coordinator.store.records import Cohort, Run
from coordinator.store.references import resolve
from shared.errors.federation import CohortNotReady, RunDeclined, RunFailed
from shared.errors.inputs import NotFound
from shared.federation.cell_policy import CellPolicy
from shared.manifest import canonical_json


class Runs(Protocol):
    """What starts a federated run: `coordinator.federation.service.FederationService`."""

    def start_run(self, request: bytes, *, actor: str, wanted: Callable[[], bool]) -> Run:
        """Queue a run for the federation process while it is wanted."""
        ...


class CohortService:
    """Computing, listing and showing released tables."""

    def __init__(self, store: Store, runs: Runs) -> None:
        self._store = store
        self._runs = runs

    def compute(
        self,
        name: str,
        policy: str,
        sites: Sequence[str] = (),
        *,
        actor: str,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Run:
        """Queue a run that pools the sites' counts; no sites: all whose agreement covers it.

        A site is named as people name it. Raises `InvalidArgument` for a policy that does not exist, `NotFound` and
        `AmbiguousReference` for a site, and what `start_run` raises.
        """
        with self._store.read() as reading:
            site_ids = tuple(named_site_id(reading, site) for site in sites)
        task = {"cohort": name, "policy": CellPolicy.named(policy).name}
        request = {"purpose": "statistics", "sites": site_ids, "statistics": task}
        return self._runs.start_run(canonical_json(request), actor=actor, wanted=wanted)

    def cohort(self, name: str, *, asker: str | None = None) -> Cohort:
        """One released table, by its id or a beginning, of the runs of `asker`; an operator asks for everybody's.

        Raises `CohortNotReady` while its run goes on, `RunFailed` or `RunDeclined` for one that ended so,
        `NotFound`, `AmbiguousReference`.
        """
        with self._store.read() as reading:
            try:
                cohort = reading.cohort(resolve(reading, "cohort", name, asker=asker))
            except NotFound:
                _check_ended(reading, name, asker)
                raise
        if cohort is None:
            raise NotFound(kind="cohort", name=name)
        return cohort

    def cohorts(self, *, asker: str | None = None) -> Sequence[Cohort]:
        """Every released table, the oldest first; with an `asker`, those of that one's runs."""
        with self._store.read() as reading:
            return reading.cohorts(asker=asker)


def _check_ended(reading: Reading, name: str, asker: str | None) -> None:
    """Raise why a cohort's run has no table, where that of this id or beginning is one; raises `AmbiguousReference`."""
    with suppress(NotFound):
        run = reading.run(resolve(reading, "run", name, asker=asker))
        if run is None or run.plan.purpose != "statistics":
            return
        if run.state == "declined":
            raise RunDeclined(run=run.id, problem=run.problem.rstrip("."))
        if run.state == "failed":
            raise RunFailed(problem=run.problem.rstrip("."))
        if run.state != "done":
            raise CohortNotReady(run=run.id, state=run.state)
