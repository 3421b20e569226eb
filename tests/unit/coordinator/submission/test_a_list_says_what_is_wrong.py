"""A list of submissions names what is missing, repeated or unreadable, and nothing hides the rest."""

from typing import Any

import pytest

from coordinator.store import tables
from coordinator.store.sql import SqlStore
from coordinator.submission.lists import SubmissionLists
from coordinator.submission.service import SubmissionService
from shared.errors.inputs import InvalidIdentifier
from shared.errors.trust import SignatureInvalid
from shared.ids import Sha256
from shared.proto.ricord.v1 import submission_pb2
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.signed import of_manifest
from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from tests.factories.federation import Federation, sealed_bytes


@pytest.mark.parametrize(
    "changes",
    [
        {"instance_count": 2**40},
        {"series_count": 2**31},
        {"agreement_version": 2**31},
        {"sequence": 2**70},
        {"sequence": 0},
        {"ciphertext_size": 2**63},
    ],
    ids=str,
)
def test_no_number_is_taken_that_a_list_cannot_hold(
    service: SubmissionService, member: tuple[SiteHome, Membership], changes: dict[str, Any]
) -> None:
    """It is refused with the manifest that states it, and is no defect."""
    site, membership = member
    signed = of_manifest(sealed_bytes(site, membership, 9, **changes).manifest)
    with pytest.raises(SignatureInvalid):
        service.offset(membership.site_id, signed)


def test_a_curator_names_a_site_by_its_number_and_a_coordinator_as_people_do(
    federation: Federation, store: SqlStore, member: tuple[SiteHome, Membership]
) -> None:
    """Curators know no hospital's name, and learn from no answer that there is one."""
    lists, name, site_id = SubmissionLists(store), "Submitting Hospital", member[1].site_id
    pages = [
        lists.page(site=site, curator=curator, after=0, limit=0)
        for site, curator in ((name, None), (site_id, None), (site_id, "curator"))
    ]
    assert pages[0] == pages[1] == pages[2]
    with pytest.raises(InvalidIdentifier):
        lists.page(site=name, curator="curator", after=0, limit=0)


@pytest.mark.parametrize("ciphertexts", ["folder"], indirect=True)  # rows are asked, wherever the ciphertext is
def test_a_row_that_cannot_be_read_is_named_and_hides_no_other(
    federation: Federation, service: SubmissionService, store: SqlStore, member: tuple[SiteHome, Membership]
) -> None:
    """One of an older release states a number out of bounds; lists name it, and every other row is whole."""
    site, membership = member
    for sequence in (40, 40, 41):
        sealed = sealed_bytes(site, membership, 9, sequence=sequence)
        list(service.receive(membership.site_id, of_manifest(sealed.manifest), 0, [sealed.ciphertext.read_bytes()]))
    old = of_manifest(sealed_bytes(site, membership, 9, sequence=42, instance_count=2**40).manifest)
    lists = SubmissionLists(store)
    last = lists.submission(lists.page(site=membership.site_id, curator=None, after=0, limit=0).rows[-1].id)
    bad = {
        "id": Sha256("b" * 64),
        "contents_sha256": Sha256("b" * 64),
        "sequence": 42,
        "manifest": old,
        "number": 2**40,
    }
    with store.begin() as work:
        work.add_submission(last.model_copy(update=bad))
    with federation.operator() as channel:
        stub = SubmissionServiceStub(channel)
        listed = stub.ListSubmissions(submission_pb2.ListSubmissionsRequest())
        faults = stub.ListSequenceFaults(submission_pb2.ListSequenceFaultsRequest(site_id=membership.site_id))
        assert stub.GetSubmission(submission_pb2.GetSubmissionRequest(id="b" * 64)).submission.problem
    assert [row.id for row in listed.submissions if row.problem] == ["b" * 64]
    assert all(row.instance_count for row in listed.submissions if not row.problem)
    assert [(repeat.sequence, repeat.count) for repeat in faults.repeats] == [(40, 2)]
    with store.begin() as work:
        work._connection.execute(tables.submissions.delete().where(tables.submissions.c.id == "b" * 64))
