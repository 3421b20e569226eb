"""What a site sent and nobody committed is within its quota, and goes in time."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NoReturn

import pytest

from coordinator.store.ciphertext import CiphertextStore
from coordinator.store.records import Upload
from coordinator.store.sql import SqlStore
from coordinator.submission.lookup import blob_name
from coordinator.submission.service import Limits, SubmissionService
from shared.crypto.keys import load_signing
from shared.crypto.signing import sign_manifest
from shared.errors.agreements import AgreementNotExecuted
from shared.errors.storage import DiskFull
from shared.errors.studies import ManifestInvalid
from shared.ids import Sha256
from shared.signed import of_manifest
from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from site_node.study import Sealed
from tests.factories.ciphertexts import CHUNK, contents, partial_names
from tests.factories.federation import Federation, Time, sealed_bytes


def test_of_a_study_sealed_twice_one_file_is_kept(
    service: SubmissionService, member: tuple[SiteHome, Membership], ciphertexts: CiphertextStore
) -> None:
    """The other, which came in meanwhile, goes: it has no row, and no quota would count it."""
    site, membership = member
    first, second = (sealed_bytes(site, membership, CHUNK, sequence=10) for _ in range(2))
    same = first.manifest.manifest.model_copy(
        update=second.manifest.manifest.model_dump(include={"ciphertext_sha256", "ciphertext_size"})
    )
    other = of_manifest(sign_manifest(same, load_signing(site.signing_key)))
    receipts: list[object] = []

    def parts() -> Iterator[bytes]:
        receipts.extend(
            service.receive(membership.site_id, of_manifest(first.manifest), 0, [first.ciphertext.read_bytes()])
        )
        yield second.ciphertext.read_bytes()

    *_, receipt = service.receive(membership.site_id, other, 0, parts())
    assert receipt == (receipts[-1], of_manifest(first.manifest))
    assert contents(ciphertexts) == [first.ciphertext.read_bytes()]


def test_a_refusal_moves_no_file_that_has_its_row(
    federation: Federation, service: SubmissionService, ciphertexts: CiphertextStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes send one study at once: the first is receipted, then the agreement is suspended, the second ends."""
    hospital = f"Doubled Hospital, {type(ciphertexts).__name__}"
    site, membership = federation.site(hospital)
    sealed = sealed_bytes(site, membership, CHUNK)
    data, signed = sealed.ciphertext.read_bytes(), of_manifest(sealed.manifest)
    open_partial = ciphertexts.open_partial

    def opened_later(partial: Sha256) -> Any:
        monkeypatch.setattr(ciphertexts, "open_partial", open_partial)
        list(service.receive(membership.site_id, signed, 0, [data]))
        return open_partial(partial)

    def parts() -> Iterator[bytes]:
        federation.suspend(hospital)
        yield from ()

    monkeypatch.setattr(ciphertexts, "open_partial", opened_later)
    with pytest.raises(AgreementNotExecuted):
        list(service.receive(membership.site_id, signed, CHUNK, parts()))
    assert contents(ciphertexts) == [data]


def test_a_file_whose_commit_never_came_counts_and_goes(
    federation: Federation,
    store: SqlStore,
    member: tuple[SiteHome, Membership],
    ciphertexts: CiphertextStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It lies among the final ones after a kill; it is within its site's quota, and goes with stale uploads."""
    site, membership = member
    time, limits = Time(), Limits(unfinished=3 * CHUNK)
    service = SubmissionService(store, ciphertexts, federation.identity, time, limits)
    orphan, kept, later = (sealed_bytes(site, membership, 2 * CHUNK, sequence=number) for number in (50, 51, 52))

    def send(sealed: Sealed) -> None:
        list(service.receive(membership.site_id, of_manifest(sealed.manifest), 0, [sealed.ciphertext.read_bytes()]))

    send(kept)
    row = blob_name(kept.manifest.manifest)
    with store.begin() as work:  # as an older release left one for a study that was sent twice at once
        work.put_upload(Upload(name=row, site_id=membership.site_id, continued_at=time() - timedelta(days=9)))
    with monkeypatch.context() as killed:
        killed.setattr(service._claims.__class__, "terms_of_member", kill)
        with pytest.raises(KeyboardInterrupt):
            send(orphan)
    assert ciphertexts.is_final(blob_name(orphan.manifest.manifest))
    with pytest.raises(DiskFull):
        send(later)
    time.ahead = timedelta(days=8)
    send(later)
    assert contents(ciphertexts) == sorted(sealed.ciphertext.read_bytes() for sealed in (kept, later))


def kill(*_: object) -> NoReturn:
    """The process ends here."""
    raise KeyboardInterrupt


def test_no_site_fills_the_disk(
    federation: Federation, store: SqlStore, member: tuple[SiteHome, Membership], ciphertexts: CiphertextStore
) -> None:
    """Neither with one study nor with unfinished ones; an upload nobody continues is removed, an open one is not."""
    site, membership = member
    time, limits = Time(), Limits(study=3 * CHUNK, unfinished=4 * CHUNK)
    service = SubmissionService(store, ciphertexts, federation.identity, time, limits)

    def begin(size: int, sequence: int) -> None:
        sealed = sealed_bytes(site, membership, size, sequence=sequence)
        list(service.receive(membership.site_id, of_manifest(sealed.manifest), 0, [bytes(2 * CHUNK)]))

    with pytest.raises(ManifestInvalid, match="larger"):
        begin(3 * CHUNK + 1, 20)
    with pytest.raises(ManifestInvalid, match="fewer"):
        begin(3 * CHUNK, 21)
    with pytest.raises(DiskFull):
        begin(3 * CHUNK, 22)
    [unfinished] = partial_names(ciphertexts)
    time.ahead = timedelta(days=8)
    with ciphertexts.open_partial(unfinished), pytest.raises(DiskFull):
        begin(3 * CHUNK, 23)
    with pytest.raises(ManifestInvalid, match="fewer"):
        begin(3 * CHUNK, 24)
    assert unfinished not in partial_names(ciphertexts)
