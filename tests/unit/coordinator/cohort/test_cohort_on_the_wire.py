"""Laws of the cohort service on the wire."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

import grpc
import pytest

from coordinator.cohort.policies import Policy
from coordinator.cohort.pooling import released_counts
from coordinator.cohort.released import ReleasedCell, ReleasedTable
from coordinator.cohort.rendering import footnote, sections
from coordinator.cohort.service import CohortService
from coordinator.cohort.servicer import CohortServicer
from coordinator.store.records import Cohort
from shared.errors import InvalidArgument, InvalidIdentifier
from shared.ids import RunId, SiteId
from shared.proto.ricord.v1 import cohort_pb2 as pb
from shared.protocol.loader import load_protocol
from site_node.federate.statistics import count
from tests.factories.libraries import library

PROTOCOL = load_protocol()


def released() -> ReleasedTable:
    counts = released_counts(
        PROTOCOL.cohort, count(PROTOCOL.cohort, library(SiteId("100001"), 60)), Policy.named("min-5")
    )
    return ReleasedTable(
        id=RunId("R-0123456789ab"),
        definition=PROTOCOL.cohort,
        definition_digest=PROTOCOL.cohort.digest,
        protocol_digest=PROTOCOL.digest,
        policy="min-5",
        roster_size=4,
        site_count=3,
        computed_at=datetime(2026, 11, 1, tzinfo=UTC),
        cells=tuple(ReleasedCell(name=cell, count=shown, suppressed=shown is None) for cell, shown in counts.items()),
    )


class StubCohortService:
    """A service with one table that records its calls."""

    def __init__(self) -> None:
        self.table = released()
        self.row = self.table.row()
        self.calls: list[tuple[object, ...]] = []

    def compute(self, name: str, policy: str, sites: Sequence[SiteId] = (), *, actor: str) -> Cohort:
        self.calls.append((name, policy, tuple(sites), actor))
        return self.row

    def cohort(self, name: str) -> Cohort:
        self.calls.append((name,))
        return self.row

    def cohorts(self) -> Sequence[Cohort]:
        return [self.row]


class Context:
    """A call by the operator."""

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_subject_alternative_name": [b"spiffe://test/coordinator/operator"]}


CONTEXT = cast("grpc.ServicerContext", Context())


def test_what_is_asked_reaches_the_service_and_the_table_comes_back_whole() -> None:
    """Empty name and policy are the defaults; the actor is who called; the table parses and has its digest."""
    stub = StubCohortService()
    servicer = CohortServicer(cast("CohortService", stub))
    answer = servicer.ComputeCohort(pb.ComputeCohortRequest(site_ids=["100001"]), CONTEXT).cohort
    assert stub.calls == [("ricord", "cms-11", (SiteId("100001"),), "coordinator/operator")]
    assert ReleasedTable.model_validate_json(answer.table) == stub.table
    assert (answer.id, answer.site_count, answer.table_sha256) == (stub.table.id, 3, stub.table.digest)
    assert servicer.GetCohort(pb.GetCohortRequest(id=answer.id), CONTEXT).cohort == answer
    listed = servicer.ListCohorts(pb.ListCohortsRequest(), CONTEXT).cohorts
    assert [(cohort.id, cohort.table) for cohort in listed] == [(answer.id, b"")]


def test_wrong_requests_are_refused_before_anything_is_asked() -> None:
    """Unknown options, and malformed SITEIDs."""
    stub = StubCohortService()
    servicer = CohortServicer(cast("CohortService", stub))
    with pytest.raises(InvalidArgument):
        servicer.ComputeCohort(pb.ComputeCohortRequest(options=b'{"raw": true}'), CONTEXT)
    with pytest.raises(InvalidIdentifier):
        servicer.ComputeCohort(pb.ComputeCohortRequest(site_ids=["1"]), CONTEXT)
    assert not stub.calls


def test_sections_are_rectangular_and_say_where_they_come_from() -> None:
    """Each grid has one label column more than its headings; the footnote counts sites and names the policy."""
    table = released()
    for grid in sections(table):
        assert {len(row) for row in grid.rows} == {len(grid.columns) + 1}
    assert "3 of 4 sites" in footnote(table)
    assert "min-5" in footnote(table)
