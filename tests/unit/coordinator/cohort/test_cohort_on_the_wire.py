"""Laws of the cohort service on the wire."""

from collections.abc import Callable, Sequence
from typing import cast

import grpc
import pytest

from coordinator.cohort.released import ReleasedTable
from coordinator.cohort.rendering import footnote, sections
from coordinator.cohort.service import CohortService
from coordinator.cohort.servicer import CohortServicer
from coordinator.store.records import Cohort, Run
from shared.errors.inputs import InvalidArgument
from shared.ids import SiteId
from shared.proto.ricord.v1 import cohort_pb2 as pb
from tests.factories.cohorts import released_table
from tests.factories.rows import make_run


class StubCohortService:
    """A service with one table that records its calls."""

    def __init__(self) -> None:
        self.table = released_table()
        self.row = self.table.row()
        self.calls: list[tuple[object, ...]] = []

    def compute(
        self, name: str, policy: str, sites: Sequence[SiteId] = (), *, actor: str, wanted: Callable[[], bool]
    ) -> Run:
        assert wanted()
        self.calls.append((name, policy, tuple(sites), actor))
        return make_run(1)

    def cohort(self, name: str, *, asker: str | None) -> Cohort:
        assert asker is None
        self.calls.append((name,))
        return self.row

    def cohorts(self, *, asker: str | None) -> Sequence[Cohort]:
        assert asker is None
        return [self.row]


class Context:
    """A call by the operator."""

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_subject_alternative_name": [b"spiffe://test/coordinator/operator"]}

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def is_active(self) -> bool:
        return True


CONTEXT = cast("grpc.ServicerContext", Context())


def test_what_is_asked_reaches_the_service_and_the_table_comes_back_whole() -> None:
    """Empty name and policy are the defaults, the actor is who called, the run's id comes back while it is pending.

    The table parses and has its digest.
    """
    stub = StubCohortService()
    servicer = CohortServicer(cast("CohortService", stub))
    assert servicer.ComputeCohort(pb.ComputeCohortRequest(site_ids=["100001"]), CONTEXT).run_id == make_run(1).id
    assert stub.calls == [("ricord", "cms-11", (SiteId("100001"),), "coordinator/operator")]
    servicer.ComputeCohort(pb.ComputeCohortRequest(name="other", policy="min-5"), CONTEXT)
    assert stub.calls.pop() == ("other", "min-5", (), "coordinator/operator")
    answer = servicer.GetCohort(pb.GetCohortRequest(id=stub.table.id), CONTEXT).cohort
    assert ReleasedTable.model_validate_json(answer.table) == stub.table
    assert (answer.id, answer.site_count, answer.table_sha256) == (stub.table.id, 3, stub.table.digest)
    listed = servicer.ListCohorts(pb.ListCohortsRequest(), CONTEXT).cohorts
    assert [(cohort.id, cohort.table) for cohort in listed] == [(answer.id, b"")]


def test_wrong_requests_are_refused_before_anything_is_asked() -> None:
    """Unknown options."""
    stub = StubCohortService()
    servicer = CohortServicer(cast("CohortService", stub))
    with pytest.raises(InvalidArgument):
        servicer.ComputeCohort(pb.ComputeCohortRequest(options=b'{"raw": true}'), CONTEXT)
    assert not stub.calls


def test_sections_are_rectangular_and_say_where_they_come_from() -> None:
    """Each grid has one label column more than its headings; the footnote counts sites and names the policy."""
    table = released_table()
    for grid in sections(table):
        assert {len(row) for row in grid.rows} == {len(grid.columns) + 1}
    assert "3 of 4 sites" in footnote(table)
    assert "min-5" in footnote(table)
