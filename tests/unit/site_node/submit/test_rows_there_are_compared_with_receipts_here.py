"""A site lists what the coordinator holds of it, and nobody else's; each difference from its receipts is named."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from click.testing import Result
from typer.testing import CliRunner

from coordinator.home.init import open_home_store
from coordinator.store import tables
from shared.errors.trust import NotEnrolled
from shared.proto.ricord.v1 import submission_pb2 as pb
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.wire import connected
from site_node.cli import app
from site_node.home.folder import SiteHome, init_home
from site_node.membership.record import Membership
from site_node.submit.client import submitting
from site_node.submit.comparison import compare, own_rows
from tests.factories.federation import Federation, running_federation, sealed_bytes

ALTERED: dict[str, Any] = {
    "sequence": 99,
    "study": "2.25.99",
    "contents_sha256": "9" * 64,
    "ciphertext_sha256": "9" * 64,
    "ciphertext_size": 99,
    "agreement_version": 99,
    "number": 10**9,
}


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


@pytest.fixture
def member(federation: Federation, request: pytest.FixtureRequest) -> tuple[SiteHome, Membership]:
    """A new site that submitted three studies, beside another that submitted one."""
    other, own = (federation.site(f"{name} {request.node.name}") for name in ("Other", "Own"))
    for member, count in ((other, 1), (own, 3)):
        with submitting(*member) as submit:
            for sequence in range(1, count + 1):
                submit(sealed_bytes(*member, 9, sequence=sequence))
    return own


def run(home: SiteHome, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--home", str(home.folder), "submission", *arguments])


def test_a_site_sees_its_own_rows_only(
    federation: Federation, member: tuple[SiteHome, Membership], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over pages of two; one that asks for another's is refused."""
    monkeypatch.setattr("coordinator.submission.lists.PAGE", 2)
    home, membership = member
    rows = list(own_rows(membership))
    assert [(row.site_id, row.sequence) for row in rows] == [(membership.site_id, number) for number in (1, 2, 3)]
    listed = json.loads(run(home, "list", "--json", "--after", str(rows[0].number), "--limit", "1").output)
    assert [row["submission"] for row in listed] == [rows[1].id]
    assert all(str(row.number) in run(home, "list").output for row in rows)
    with federation.reading() as reading:
        other = next(row.site_id for row in reading.submissions() if row.site_id != membership.site_id)
    with connected(membership.addresses.main, membership.credentials) as channel:
        stub = SubmissionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            stub.ListSubmissions(pb.ListSubmissionsRequest(site_id=other))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(grpc.RpcError):
            stub.GetSubmission(pb.GetSubmissionRequest(id=rows[0].id))


def test_what_fits_has_no_difference(member: tuple[SiteHome, Membership]) -> None:
    """And the command ends with 0."""
    home, membership = member
    assert compare(home, membership).model_dump() == {"receipts": 3, "rows": 3, "differences": ()}
    answer = run(home, "verify")
    assert (answer.exit_code, "no differences" in answer.output) == (0, True)


@pytest.mark.parametrize("name", sorted(ALTERED))
def test_each_altered_field_of_a_row_is_named(
    federation: Federation, member: tuple[SiteHome, Membership], name: str
) -> None:
    """With what the receipt says and what the row says; the exit code is 3."""
    home, membership = member
    store = open_home_store(federation.home, federation.settings)
    try:
        with store.begin() as work:
            row = work.submissions(membership.site_id)[1]
            change = tables.submissions.update().where(tables.submissions.c.id == str(row.id))
            work._connection.execute(change.values(**{name: ALTERED[name]}))
    finally:
        store.close()
    (difference,) = compare(home, membership).differences
    field = {"number": "audit_number"}.get(name, name).replace("_", " ")
    assert f"its {field} is" in difference
    assert row.id in difference
    assert str(ALTERED[name]) in difference
    assert run(home, "verify").exit_code == 3


def test_what_only_one_side_has_is_named(member: tuple[SiteHome, Membership], federation: Federation) -> None:
    """Once: a receipt without a row, receipts that were changed here, and rows of which no receipt is held."""
    home, membership = member
    first, second, third = sorted(own_rows(membership), key=lambda row: row.contents_sha256)
    store = open_home_store(federation.home, federation.settings)
    try:
        with store.begin() as work:
            work._connection.execute(tables.submissions.delete().where(tables.submissions.c.id == first.id))
    finally:
        store.close()
    (home.receipts / f"{second.contents_sha256}.json").write_text("{}")
    expected = {
        f"submission {first.id} of study {first.study}: the coordinator has no row of it, and signed a receipt",
        f"receipt {second.contents_sha256}.json: it is not what the coordinator signed",
        f"submission {second.id} of study {second.study}: no receipt of it is held here",
    }
    differences = compare(home, membership).differences
    assert (set(differences), len(differences)) == (expected, 3)
    for row in (first, third):
        (home.receipts / f"{row.contents_sha256}.json").write_text("{}")
    assert len(compare(home, membership).differences) == 5


def test_a_site_that_is_no_member_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = init_home(tmp_path_factory.mktemp("alone") / "home", name="Alone")
    answer = run(home, "list")
    assert isinstance(answer.exception, NotEnrolled)
