"""A plan tried on this machine: the same plan, centre and sites under Flower's simulation, in Ray's processes.

Each simulated hospital is a folder of studies (see `simulated_library`) with a key of its own and the policy that a new
site node begins with, so that it refuses what hospitals would refuse. Training is deterministic for a seed and sums are
exact, so the numbers are those of a deployed run over the same libraries.

The simulation has a process of its own: Ray takes over signals and settings of the process in which it starts.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from coordinator.federation.results import TrainingResult
from coordinator.research.shown import Shown
from shared.errors.federation import PlanInvalid, RunFailed
from shared.errors.inputs import NotFound, SourceMissing
from shared.federation.plan import PlanRequest, Which
from shared.frozen import Frozen
from shared.ids import Sha256, SiteId
from shared.protocol.loader import load_protocol

_FIRST_SITE = 100_001


class Simulation(Frozen):
    """What is tried, and on what; this travels to the simulation's process."""

    request: PlanRequest
    protocol_digest: Sha256
    sites: Mapping[SiteId, Path]  # libraries, homes that hold them, or DICOM files and a table
    policy: Path | None = None  # of every site; none: that of a new site node
    address: str | None = None  # of a Ray cluster that reaches the same folders; none: Ray starts on this machine
    folder: Path  # where a training's models and figures go


class Outcome(Frozen):
    """How a simulation ended: with a result as the coordinator would keep it, or with a reason."""

    plan: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = None
    problem: str | None = None


class Tried(Shown):
    """What a simulation showed, in the same words as a run."""

    simulated = True

    def __init__(self, outcome: Outcome, models: Mapping[Which, bytes]) -> None:
        self._outcome = outcome
        self._models = models

    @property
    def plan(self) -> dict[str, Any]:
        """The plan with the simulated sites."""
        return dict(self._outcome.plan or {})

    @property
    def result(self) -> dict[str, Any]:
        """What the coordinator would keep."""
        return dict(self._outcome.result or {})

    def model_file(self, which: Which = "last") -> bytes:
        """That round's model in the form of safetensors, whole; raises `NotFound`."""
        if which not in self._models:
            raise NotFound(kind="model", name="this plan")
        return self._models[which]


def simulate(
    request: PlanRequest, sites: Mapping[str, Path], *, policy: Path | None = None, address: str | None = None
) -> Tried:
    """Try a plan over folders by name; a name that is no SITEID stands for a made-up one.

    `policy` is a `federation-policy.toml` of every site, `address` that of a Ray cluster that reaches the same folders.
    Raises `SourceMissing`, `PlanInvalid`, or `RunFailed` with the reasons that the simulated sites gave.
    """
    with TemporaryDirectory(prefix="ricord-simulation-") as folder:
        simulation = Simulation(
            request=request,
            protocol_digest=load_protocol().digest,
            sites=dict(zip(site_ids(sites), sites.values(), strict=True)),
            policy=policy,
            address=address,
            folder=Path(folder),
        )
        outcome = simulated(simulation)
        files = () if request.training is None else TrainingResult.model_validate(outcome.result).files
        models = [(Path(folder) / file).read_bytes() for file in files]
        return Tried(outcome, {"best": models[0], "last": models[-1]} if models else {})


def site_ids(names: Iterable[str]) -> list[SiteId]:
    """A SITEID for each name: itself where it is such a number, else the next of those made up for simulations."""
    given = list(names)
    made_up = (SiteId(str(number)) for number in count(_FIRST_SITE) if str(number) not in given)
    return [SiteId(name) if SiteId.pattern.fullmatch(name) else next(made_up) for name in given]


def simulated(simulation: Simulation) -> Outcome:
    """An outcome with a result: of a training, or a statistic's table with small counts hidden as in a first release.

    Raises as `simulate`.
    """
    if simulation.request.purpose == "evaluation":
        raise PlanInvalid(problem="an evaluation is of a run's model, which is not on this machine")
    for source in (*simulation.sites.values(), *([simulation.policy] if simulation.policy else [])):
        if not source.exists():
            raise SourceMissing(source=str(source))
    if len(simulation.sites) < simulation.request.minimum_sites:
        problem = f"{len(simulation.sites)} folders are fewer than its minimum of {simulation.request.minimum_sites}"
        raise PlanInvalid(problem=problem)
    command = [sys.executable, "-m", "coordinator.research.simulated_run"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True) as child:
        try:
            written, _ = child.communicate(simulation.model_dump_json().encode())
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)  # Ray's processes, too
            raise
    outcome = Outcome.model_validate_json(written) if written else Outcome()
    if outcome.result is None:
        raise RunFailed(problem=outcome.problem or f"the simulation's process ended with {child.returncode}")
    return outcome
