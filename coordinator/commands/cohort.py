"""`cohort`: pooled figures."""

import sys
import time
from typing import Annotated

import grpc
import typer

from coordinator.commands.output import AsJson, home_of, show_all
from coordinator.operator.channel import operator_channel
from shared.errors.federation import RunFailed, RunGoesOn
from shared.proto.ricord.v1 import cohort_pb2, federation_pb2
from shared.proto.ricord.v1.cohort_pb2_grpc import CohortServiceStub
from shared.proto.ricord.v1.federation_pb2_grpc import FederationServiceStub
from shared.terminal import INTERRUPTED, make_app
from shared.wire import UNARY_SECONDS

cohort = make_app("Cohort summaries: pooled by secure sum, small cells suppressed after pooling.")

_EARLIEST_SECONDS = 0.3  # no table is there before; each look costs the coordinator as much as a step of the sum
_POLL_SECONDS = 0.05, 0.5  # between two looks, the shortest and the longest: a table may be there within a second
_POLL_SHARE = 0.1  # of the time waited so far


@cohort.command("list")
def list_cohorts(context: typer.Context, as_json: AsJson = False) -> None:
    """Every summary that was released."""
    with operator_channel(home_of(context)) as channel:
        answer = CohortServiceStub(channel).ListCohorts(cohort_pb2.ListCohortsRequest(), timeout=UNARY_SECONDS)
    show_all("Cohorts", answer.cohorts, ("id", "name", "policy", "site_count", "computed_at"), as_json=as_json)


@cohort.command("show")
def show_cohort(
    context: typer.Context,
    cohort_id: Annotated[str, typer.Argument(help="Its id as `cohort list` shows it, or a beginning.")],
    as_json: AsJson = False,
) -> None:
    """One summary, whole."""
    from coordinator.commands.cohort_table import show_table

    request = cohort_pb2.GetCohortRequest(id=cohort_id)
    with operator_channel(home_of(context)) as channel:
        answer = CohortServiceStub(channel).GetCohort(request, timeout=UNARY_SECONDS)
    show_table(answer.cohort, as_json=as_json)


@cohort.command()
def compute(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Option(help="The cohort definition; empty: the protocol's own.")] = "",
    policy: Annotated[str, typer.Option(help="cms-11, nhs-7-round-5 or min-k.")] = "cms-11",
    site: Annotated[
        list[str] | None, typer.Option(help="A site's name or SITEID; repeat it. None: every site that may.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0, help="How long to wait for the table.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Start a run that pools the sites' counts, and wait for the table that may be released.

    Ctrl-C ends the waiting and leaves the run going: `run show` says how it goes, `cohort show` shows its table. So do
    --minutes, with exit code 5.
    """
    request = cohort_pb2.ComputeCohortRequest(name=name, policy=policy, site_ids=site or [])
    with operator_channel(home_of(context)) as channel:
        cohorts = CohortServiceStub(channel)
        run_id = cohorts.ComputeCohort(request, timeout=UNARY_SECONDS).run_id
        if not as_json:
            note = f"Run {run_id} is queued. Ctrl-C leaves it going; `cohort show {run_id}` shows its table."
            typer.echo(note, err=True)
        from coordinator.commands.cohort_table import show_table  # loaded while the sites count

        _wait_for(channel, run_id, minutes)
        answer = cohorts.GetCohort(cohort_pb2.GetCohortRequest(id=run_id), timeout=UNARY_SECONDS)
    show_table(answer.cohort, as_json=as_json)


def _wait_for(channel: grpc.Channel, run_id: str, minutes: float) -> None:
    """Return once the run is done; on Ctrl-C end this process alone.

    Raises `RunFailed` with its reason, or `RunGoesOn` after so many minutes.
    """
    runs, request = FederationServiceStub(channel), federation_pb2.GetRunRequest(id=run_id)
    start = time.monotonic()
    try:
        time.sleep(_EARLIEST_SECONDS)
        while (run := runs.GetRun(request, timeout=UNARY_SECONDS).run).state != "done":
            if run.state == "failed":
                raise RunFailed(problem=run.problem.rstrip(".") or "the log says more")
            if (waited := time.monotonic() - start) >= 60 * minutes:
                raise RunGoesOn(run=run_id, state=run.state, minutes=f"{minutes:g}")
            time.sleep(min(max(_POLL_SHARE * waited, _POLL_SECONDS[0]), _POLL_SECONDS[1]))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
