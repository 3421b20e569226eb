"""Cohort summaries on the wire; each method is one call of the service."""

from typing import TYPE_CHECKING

import grpc

from coordinator.cohort.service import CohortService
from coordinator.trust.interceptor import actor_of, asker_of
from shared.errors.inputs import InvalidArgument
from shared.proto.ricord.v1 import cohort_pb2 as pb
from shared.proto.ricord.v1.cohort_pb2_grpc import CohortServiceServicer
from shared.wire import to_timestamp

if TYPE_CHECKING:
    from coordinator.store.records import Cohort

DEFAULT_NAME = "ricord"
DEFAULT_POLICY = "cms-11"


class CohortServicer(CohortServiceServicer):
    """Pooled figures, released only after suppression."""

    def __init__(self, service: CohortService) -> None:
        self._service = service

    def ComputeCohort(
        self, request: pb.ComputeCohortRequest, context: grpc.ServicerContext
    ) -> pb.ComputeCohortResponse:
        """Queue a run that asks the sites for one secure sum."""
        if request.options not in {b"", b"{}"}:
            raise InvalidArgument(name="options", problem="a cohort summary has none")
        run = self._service.compute(
            request.name or DEFAULT_NAME,
            request.policy or DEFAULT_POLICY,
            request.site_ids,
            actor=actor_of(context),
            wanted=context.is_active,
        )
        return pb.ComputeCohortResponse(run_id=run.id)

    def ListCohorts(self, request: pb.ListCohortsRequest, context: grpc.ServicerContext) -> pb.ListCohortsResponse:
        """What was released."""
        del request
        cohorts = self._service.cohorts(asker=asker_of(context))
        return pb.ListCohortsResponse(cohorts=[_message(cohort, whole=False) for cohort in cohorts])

    def GetCohort(self, request: pb.GetCohortRequest, context: grpc.ServicerContext) -> pb.GetCohortResponse:
        """One released table, whole."""
        cohort = self._service.cohort(request.id, asker=asker_of(context))
        return pb.GetCohortResponse(cohort=_message(cohort, whole=True))


def _message(cohort: "Cohort", *, whole: bool) -> pb.Cohort:
    return pb.Cohort(
        id=cohort.id,
        name=cohort.name,
        policy=cohort.policy,
        site_count=cohort.site_count,
        computed_at=to_timestamp(cohort.computed_at),
        table_sha256=cohort.table_sha256,
        table=cohort.table.encode() if whole else b"",
    )
