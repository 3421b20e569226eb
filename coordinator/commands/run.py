"""`run`: federated runs."""

from pathlib import Path
from typing import Annotated

import typer

from coordinator.commands.output import AsJson, home_of, show, show_all
from coordinator.home.settings import PROGRAM
from coordinator.operator.answers import every_page
from coordinator.operator.channel import operator_channel
from coordinator.service.engine_state import EngineFile
from shared.errors.inputs import SourceMissing
from shared.manifest import canonical_json
from shared.proto.ricord.v1 import federation_pb2
from shared.proto.ricord.v1.federation_pb2_grpc import FederationServiceStub
from shared.settings import load_settings
from shared.terminal import make_app
from shared.wire import UNARY_SECONDS

RunName = Annotated[str, typer.Argument(help="The run's id, or a beginning.")]

run = make_app("Federated runs: a plan goes to the sites, each decides, aggregates come back.")


@run.command()
def start(
    context: typer.Context,
    plan: Annotated[
        Path, typer.Argument(help="What to do, as TOML: purpose, sites, [training], [statistics] or [evaluation].")
    ],
    as_json: AsJson = False,
) -> None:
    """Start a federated run; `run show` says how it goes."""
    from shared.federation.plan import PlanRequest

    if not plan.is_file():
        raise SourceMissing(source=str(plan))
    request = federation_pb2.StartRunRequest(plan=canonical_json(load_settings(plan, PlanRequest, program=PROGRAM)))
    with operator_channel(home_of(context)) as channel:
        answer = FederationServiceStub(channel).StartRun(request, timeout=UNARY_SECONDS)
    show(answer.run, as_json=as_json)


@run.command("list")
def list_runs(context: typer.Context, as_json: AsJson = False) -> None:
    """Every run, those that researchers propose among them."""
    with operator_channel(home_of(context)) as channel:
        answer = every_page(FederationServiceStub(channel).ListRuns, federation_pb2.ListRunsRequest())
    show_all(
        "Runs",
        answer.runs,
        ("id", "state", "researcher", "aim", "site_ids", "started_at", "ended_at", "progress", "problem"),
        as_json=as_json,
    )
    _say_if_none_runs(context)


@run.command("show")
def show_run(
    context: typer.Context,
    run_id: RunName,
    as_json: AsJson = False,
) -> None:
    """One run with its plan and result."""
    with operator_channel(home_of(context)) as channel:
        answer = FederationServiceStub(channel).GetRun(federation_pb2.GetRunRequest(id=run_id), timeout=UNARY_SECONDS)
    show(answer.run, as_json=as_json)
    _say_if_none_runs(context)


@run.command()
def resume(
    context: typer.Context,
    run_id: RunName,
    as_json: AsJson = False,
) -> None:
    """Let a training that failed go on after its last finished round, at the same sites under the same plan."""
    with operator_channel(home_of(context)) as channel:
        request = federation_pb2.ResumeRunRequest(id=run_id)
        answer = FederationServiceStub(channel).ResumeRun(request, timeout=UNARY_SECONDS)
    show(answer.run, as_json=as_json)


@run.command()
def approve(
    context: typer.Context,
    run_id: RunName,
    as_json: AsJson = False,
) -> None:
    """Release a run that a researcher proposed: its plan is signed and goes to the sites, of which each decides."""
    with operator_channel(home_of(context)) as channel:
        request = federation_pb2.ApproveRunRequest(id=run_id)
        answer = FederationServiceStub(channel).ApproveRun(request, timeout=UNARY_SECONDS)
    show(answer.run, as_json=as_json)


@run.command()
def decline(
    context: typer.Context,
    run_id: RunName,
    reason: Annotated[str, typer.Option(help="Why, in a sentence that the researcher reads.")],
    as_json: AsJson = False,
) -> None:
    """Refuse a run that a researcher proposed; no site hears of it."""
    with operator_channel(home_of(context)) as channel:
        request = federation_pb2.DeclineRunRequest(id=run_id, reason=reason)
        answer = FederationServiceStub(channel).DeclineRun(request, timeout=UNARY_SECONDS)
    show(answer.run, as_json=as_json)


@run.command()
def stop(
    context: typer.Context,
    run_id: RunName,
    as_json: AsJson = False,
) -> None:
    """Ask a run to end."""
    with operator_channel(home_of(context)) as channel:
        request = federation_pb2.StopRunRequest(id=run_id)
        answer = FederationServiceStub(channel).StopRun(request, timeout=UNARY_SECONDS)
    show(answer.run, as_json=as_json)


def _say_if_none_runs(context: typer.Context) -> None:
    """Say on standard error why no run goes on, where this home's engine does not execute any now."""
    engine = EngineFile(home_of(context).federation).read()
    if engine is not None and not engine.executes:
        typer.echo(f"No run goes on now: {engine.words}.", err=True)
