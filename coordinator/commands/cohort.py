"""`cohort` and `run`: pooled figures and federated runs."""

from pathlib import Path
from typing import Annotated

import typer

from coordinator.cohort.released import ReleasedTable
from coordinator.cohort.rendering import footnote, sections
from coordinator.commands.operator_channel import operator_channel
from coordinator.commands.output import AsJson, home_of, show, show_all
from coordinator.home.settings import PROGRAM
from shared.errors import SourceMissing
from shared.manifest import canonical_json
from shared.proto.ricord.v1 import cohort_pb2, federation_pb2
from shared.proto.ricord.v1.cohort_pb2_grpc import CohortServiceStub
from shared.proto.ricord.v1.federation_pb2_grpc import FederationServiceStub
from shared.settings import load_settings
from shared.terminal import make_app, print_line, print_table
from shared.wire import UNARY_SECONDS

cohorts = make_app("Cohort summaries: pooled by secure sum, small cells suppressed after pooling.")
runs = make_app("Federated runs: a plan goes to the sites, each decides, aggregates come back.")

_COMPUTE_SECONDS = 900.0  # the sites answer in several exchanges


@cohorts.command("list")
def list_cohorts(context: typer.Context, as_json: AsJson = False) -> None:
    """Every summary that was released."""
    with operator_channel(home_of(context)) as channel:
        answer = CohortServiceStub(channel).ListCohorts(cohort_pb2.ListCohortsRequest(), timeout=UNARY_SECONDS)
    show_all("Cohorts", answer.cohorts, ("id", "name", "policy", "site_count", "computed_at"), as_json=as_json)


@cohorts.command("show")
def show_cohort(
    context: typer.Context,
    cohort_id: Annotated[str, typer.Argument(help="The id that `cohort list` shows.")],
    as_json: AsJson = False,
) -> None:
    """One summary, whole."""
    request = cohort_pb2.GetCohortRequest(id=cohort_id)
    with operator_channel(home_of(context)) as channel:
        answer = CohortServiceStub(channel).GetCohort(request, timeout=UNARY_SECONDS)
    _show_table(answer.cohort, as_json=as_json)


@cohorts.command()
def compute(
    context: typer.Context,
    name: Annotated[str, typer.Option(help="The cohort definition; empty: the protocol's own.")] = "",
    policy: Annotated[str, typer.Option(help="cms-11, nhs-7-round-5 or min-k.")] = "cms-11",
    site: Annotated[list[str] | None, typer.Option(help="A SITEID; repeat it. None: every site that may.")] = None,
    as_json: AsJson = False,
) -> None:
    """Pool the sites' counts now and wait for the table that may be released."""
    request = cohort_pb2.ComputeCohortRequest(name=name, policy=policy, site_ids=site or [])
    with operator_channel(home_of(context)) as channel:
        answer = CohortServiceStub(channel).ComputeCohort(request, timeout=_COMPUTE_SECONDS)
    _show_table(answer.cohort, as_json=as_json)


@runs.command()
def start(
    context: typer.Context,
    plan: Annotated[Path, typer.Argument(help="What to do, as TOML: purpose, sites, [training] or [statistics].")],
    as_json: AsJson = False,
) -> None:
    """Start a federated run; `run show` says how it goes."""
    from shared.federation.plan import PlanRequest  # noqa: PLC0415 -- loads numpy, which other verbs do not need

    if not plan.is_file():
        raise SourceMissing(source=str(plan))
    request = federation_pb2.StartRunRequest(plan=canonical_json(load_settings(plan, PlanRequest, program=PROGRAM)))
    with operator_channel(home_of(context)) as channel:
        answer = FederationServiceStub(channel).StartRun(request, timeout=UNARY_SECONDS)
    show(answer.run, as_json=as_json)


@runs.command("list")
def list_runs(context: typer.Context, as_json: AsJson = False) -> None:
    """Every run."""
    with operator_channel(home_of(context)) as channel:
        answer = FederationServiceStub(channel).ListRuns(federation_pb2.ListRunsRequest(), timeout=UNARY_SECONDS)
    show_all("Runs", answer.runs, ("id", "state", "site_ids", "started_at", "ended_at", "problem"), as_json=as_json)


@runs.command("show")
def show_run(
    context: typer.Context, run_id: Annotated[str, typer.Argument(help="The run's id.")], as_json: AsJson = False
) -> None:
    """One run with its plan and result."""
    with operator_channel(home_of(context)) as channel:
        answer = FederationServiceStub(channel).GetRun(federation_pb2.GetRunRequest(id=run_id), timeout=UNARY_SECONDS)
    show(answer.run, as_json=as_json)


@runs.command()
def stop(
    context: typer.Context, run_id: Annotated[str, typer.Argument(help="The run's id.")], as_json: AsJson = False
) -> None:
    """Ask a run to end."""
    with operator_channel(home_of(context)) as channel:
        request = federation_pb2.StopRunRequest(id=run_id)
        answer = FederationServiceStub(channel).StopRun(request, timeout=UNARY_SECONDS)
    show(answer.run, as_json=as_json)


def _show_table(cohort: cohort_pb2.Cohort, *, as_json: bool) -> None:
    if as_json:
        show(cohort, as_json=True)
        return
    table = ReleasedTable.model_validate_json(cohort.table)
    for grid in sections(table):
        print_table(grid.title, ("", *grid.columns), grid.rows)
    print_line(f"{footnote(table)} Its id is {table.id}.")
