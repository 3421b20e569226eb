"""The process of a simulation: `python -m coordinator.research.simulated_run` with a `Simulation` on standard input."""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from coordinator.cohort.means import released_means
from coordinator.cohort.noisy import noisy_counts
from coordinator.cohort.pooling import counts_of, released_counts, sum_plan_of, table_of
from coordinator.cohort.released import ReleasedTable
from coordinator.cohort.releases import Release
from coordinator.federation.grid import GridExchange, RosterGrid, Signer
from coordinator.federation.training import run_training
from coordinator.research.simulated_site import ASK_PLACE, PLACE, SimulatedApp, make_site
from coordinator.research.simulation import Outcome, Simulation
from shared.crypto.signing import SigningKey
from shared.errors.base import RicordError
from shared.errors.federation import PlanInvalid, RunFailed
from shared.federation import records
from shared.federation.asked import definition_asked
from shared.federation.cell_policy import CellPolicy
from shared.federation.plan import complete_plan, sign_plan
from shared.federation.secure_sum.server import sum_without_liars
from shared.frozen import Frozen

_LOOK_SECONDS = 0.02  # between two looks for replies: Flower's simulated grid wakes nobody


def main() -> None:
    """Simulate what standard input says; standard output gets how it ended, and nothing else."""
    simulation = Simulation.model_validate_json(sys.stdin.buffer.read())
    answer = os.dup(1)
    os.dup2(2, 1)  # what Flower and Ray print
    try:
        outcome = play(simulation)
    except RicordError as error:
        outcome = Outcome(problem=error.fields.get("problem", error.public))
    with os.fdopen(answer, "w") as written:
        written.write(outcome.model_dump_json())


def play(simulation: Simulation) -> Outcome:
    """Play the centre over simulated sites, which last until it has a result."""
    key, outcomes, ended = SigningKey.generate(), list[Outcome](), threading.Event()
    with TemporaryDirectory(prefix="ricord-simulation-") as temporary:
        folders = tuple(Path(temporary) / site for site in sorted(simulation.sites))
        sites = [
            make_site(
                folder,
                site,
                simulation.sites[site],
                coordinator=key.public,
                protocol_digest=simulation.protocol_digest,
                policy=simulation.policy,
            )
            for folder, site in zip(folders, sorted(simulation.sites), strict=True)
        ]
        members = tuple(site.member for site in sites)
        plan = complete_plan(simulation.request, members=members, protocol_digest=simulation.protocol_digest)
        signer = Signer(key, tuple(site.peer for site in sites))

        def centre(grid: Grid, _: Context) -> None:
            places = _places(grid, len(sites), ended)
            nodes = {site.site_id: places[place] for place, site in enumerate(sites)}
            roster = RosterGrid(_LookingGrid(grid), plan, sign_plan(plan, key), lambda: nodes, signer)
            roster.stop_when(ended.is_set)
            try:
                outcomes.append(_result(roster, signer, simulation.folder))
            except RicordError as error:
                why = sorted({f"{each.site}: {each.refusal}" for each in roster.answers if each.refusal})
                outcomes.append(Outcome(problem="; ".join([error.fields.get("problem", error.public), *why])))

        server = ServerApp()
        server.main()(centre)
        try:
            _run(server, SimulatedApp(folders), len(sites), simulation.address)
        finally:
            ended.set()  # of a crashed simulation: else the thread of `centre` waits for ever
    return outcomes[0] if outcomes else Outcome()


def _result(grid: RosterGrid, signer: Signer, folder: Path) -> Outcome:
    if grid.plan.statistics is None:
        result: Frozen = run_training(grid, folder)
    else:
        result = _table(grid, signer)
    return Outcome(plan=grid.plan.model_dump(mode="json"), result=result.model_dump(mode="json"))


def _table(grid: RosterGrid, signer: Signer) -> ReleasedTable:
    plan = grid.plan
    if plan.statistics is None:
        raise PlanInvalid(problem="it asks for no statistics")
    definition = definition_asked(plan.statistics, plan.protocol_digest)
    policy = CellPolicy.named(plan.statistics.policy)
    pooled = sum_without_liars(sum_plan_of(plan, definition, policy, signer.peers), signer.key, GridExchange(grid))
    sites, now = len(pooled.survivors), datetime.now(UTC)
    if plan.statistics.privacy is not None:
        shown, noise = noisy_counts(definition, policy, plan.statistics.privacy, pooled)
        return table_of(plan, definition, policy, shown, noise=noise, sites=sites, computed_at=now)
    counts, sums = counts_of(definition, pooled)
    new = Release(sites=frozenset(pooled.survivors), counts=counts, policy=policy, shown={})
    shown = released_counts(definition, new, [], seed=os.urandom(32))
    means = released_means(definition, new._replace(shown=shown), sums, [], protocol=definition)
    return table_of(plan, definition, policy, shown, means=means, sites=sites, computed_at=now)


def _run(server: ServerApp, client: object, nodes: int, address: str | None) -> None:
    """Run Flower's simulation, of whose log only errors are wanted."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    backend: dict[str, Any] = {
        "init_args": {"address": address, "include_dashboard": False, "log_to_driver": False},
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
    }
    run_simulation(server_app=server, client_app=client, num_supernodes=nodes, backend_config=backend)


def _places(grid: Grid, sites: int, ended: threading.Event) -> dict[int, int]:
    """The node of each simulated site, by its place; Flower numbers nodes at random. Raises `RunFailed`."""
    while len(nodes := list(grid.get_node_ids())) < sites and not ended.wait(_LOOK_SECONDS):
        pass
    asked = [Message(RecordDict(), dst_node_id=node, message_type=ASK_PLACE) for node in nodes]
    waiting, places = set(grid.push_messages(asked)), dict[int, int]()
    while len(places) < sites:
        if ended.wait(_LOOK_SECONDS):
            raise RunFailed(problem="the simulation ended before its sites answered")
        for reply in grid.pull_messages(waiting):
            waiting.discard(reply.metadata.reply_to_message_id)
            places[int(reply.content[records.CONFIG][PLACE])] = reply.metadata.src_node_id
    return places


class _LookingGrid:
    """Flower's grid, with what a roster's grid asks for besides (`WaitingGrid`)."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def __getattr__(self, name: str) -> Any:
        return getattr(self._grid, name)

    def wait(self, seconds: float) -> None:
        """Wait for the next look."""
        time.sleep(min(seconds, _LOOK_SECONDS))

    def forget(self, message_ids: Iterable[str]) -> None:
        """Nothing: what came too late ends with the simulation."""


if __name__ == "__main__":
    os.environ |= {
        "FLWR_TELEMETRY_ENABLED": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    main()
