"""`cohort`: pooled figures."""

from typing import Annotated

import typer

from coordinator.cohort.released import ReleasedTable
from coordinator.cohort.rendering import footnote, sections
from coordinator.commands.operator_channel import operator_channel
from coordinator.commands.output import AsJson, home_of, show, show_all
from shared.proto.ricord.v1 import cohort_pb2
from shared.proto.ricord.v1.cohort_pb2_grpc import CohortServiceStub
from shared.terminal import make_app, print_line, print_table
from shared.wire import UNARY_SECONDS

cohort = make_app("Cohort summaries: pooled by secure sum, small cells suppressed after pooling.")

_COMPUTE_SECONDS = 900.0  # the sites answer in several exchanges


@cohort.command("list")
def list_cohorts(context: typer.Context, as_json: AsJson = False) -> None:
    """Every summary that was released."""
    with operator_channel(home_of(context)) as channel:
        answer = CohortServiceStub(channel).ListCohorts(cohort_pb2.ListCohortsRequest(), timeout=UNARY_SECONDS)
    show_all("Cohorts", answer.cohorts, ("id", "name", "policy", "site_count", "computed_at"), as_json=as_json)


@cohort.command("show")
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


@cohort.command()
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


def _show_table(cohort: cohort_pb2.Cohort, *, as_json: bool) -> None:
    if as_json:
        show(cohort, as_json=True)
        return
    table = ReleasedTable.model_validate_json(cohort.table)
    for grid in sections(table):
        print_table(grid.title, ("", *grid.columns), grid.rows)
    print_line(f"{footnote(table)} Its id is {table.id}.")
