"""No more studies are received than the agreement covers; those received may come again, and nothing else waits."""

import secrets
from collections.abc import Iterator

import pytest

from coordinator.store.sql import SqlStore
from coordinator.submission.lists import SubmissionLists
from coordinator.submission.service import SubmissionService
from shared.errors.agreements import StudyQuotaReached
from shared.signed import Signed, of_manifest
from site_node.study import Sealed
from site_node.submit.client import submitting
from tests.factories.federation import Federation, sealed_bytes


def receive(service: SubmissionService, sealed: Sealed) -> Signed:
    """The receipt of a study that is sent whole."""
    site_id, data = sealed.manifest.manifest.site_id, sealed.ciphertext.read_bytes()
    *_, receipt = service.receive(site_id, of_manifest(sealed.manifest), 0, [data])
    assert isinstance(receipt, Signed)
    return receipt


def test_the_number_of_different_studies_is_bounded(
    federation: Federation, store: SqlStore, service: SubmissionService
) -> None:
    """At the offset already; another submission of a study that came before is no further study."""
    site, member = federation.site(f"Small Hospital {secrets.token_hex(4)}", studies=2)
    first, second, third = (sealed_bytes(site, member, 9) for _ in range(3))
    receipts = [receive(service, study) for study in (first, second)]
    with pytest.raises(StudyQuotaReached) as refused:
        service.offset(member.site_id, of_manifest(third.manifest))
    assert refused.value.fields == {"studies": "2"}
    assert service.offset(member.site_id, of_manifest(first.manifest)).received == (
        receipts[0],
        of_manifest(first.manifest),
    )
    again = sealed_bytes(site, member, 9, study=first.manifest.manifest.study)
    assert receive(service, again) not in receipts
    assert len(SubmissionLists(store).page(site=member.site_id, curator=None, after=0, limit=0).rows) == 3


def test_of_two_that_are_the_last_at_once_one_is_received(
    federation: Federation, store: SqlStore, service: SubmissionService
) -> None:
    """The number is asked again at the commit."""
    site, member = federation.site(f"Smaller Hospital {secrets.token_hex(4)}", studies=1)
    slow, fast = (sealed_bytes(site, member, 9) for _ in range(2))
    data = slow.ciphertext.read_bytes()

    def overtaken() -> Iterator[bytes]:
        yield data[:4]
        receive(service, fast)
        yield data[4:]

    with pytest.raises(StudyQuotaReached):
        list(service.receive(member.site_id, of_manifest(slow.manifest), 0, overtaken()))
    with store.read() as reading:
        assert [row.study for row in reading.submissions(member.site_id)] == [fast.manifest.manifest.study]
    assert service.offset(member.site_id, of_manifest(fast.manifest)).received is not None


def test_a_site_hears_of_it_by_name(federation: Federation) -> None:
    """Over the wire; the study stays sealed, and one that came before is still answered."""
    site, member = federation.site(f"Smallest Hospital {secrets.token_hex(4)}", studies=1)
    first, second = (sealed_bytes(site, member, 9) for _ in range(2))
    with submitting(site, member) as submit:
        receipt = submit(first).receipt
        with pytest.raises(StudyQuotaReached):
            submit(second)
        assert second.ciphertext.exists()
        receipt.unlink()
        first.ciphertext.write_bytes(b"sent before")
        submit(first)
