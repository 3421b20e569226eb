"""What a site began to upload and left for a week goes, whoever uploads next; a study and a site have their bounds."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from coordinator.store.ciphertext import CiphertextStore
from coordinator.store.records import Upload
from coordinator.store.sql import SqlStore
from coordinator.submission.lookup import blob_name
from coordinator.submission.service import DEFAULT_LIMITS, Limits, SubmissionService
from shared.errors.storage import DiskFull
from shared.ids import Sha256, SiteId
from shared.manifest import Manifest
from shared.signed import Signed, of_manifest
from shared.submission_state import SubmissionState
from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from tests.factories.ciphertexts import open_ciphertexts
from tests.factories.federation import Federation, sealed_bytes

STRANGER = SiteId("999998")
WEEK, TICK = timedelta(days=7), timedelta(microseconds=1)


@pytest.fixture
def ciphertexts(tmp_path: Path) -> CiphertextStore:
    """Of one kind: rows are asked."""
    return open_ciphertexts("folder", tmp_path, None)


def test_a_study_and_a_sites_uploads_are_bounded() -> None:
    """By 64 and 128 GiB, unless a coordinator says otherwise."""
    assert (DEFAULT_LIMITS.study, DEFAULT_LIMITS.unfinished) == (2**36, 2**37)


@pytest.mark.parametrize(("limit", "fits"), [(18, True), (17, False)])
def test_a_site_may_fill_what_it_has(
    federation: Federation,
    store: SqlStore,
    ciphertexts: CiphertextStore,
    member: tuple[SiteHome, Membership],
    *,
    limit: int,
    fits: bool,
) -> None:
    """To the last byte, together with its other unfinished uploads."""
    service = SubmissionService(store, ciphertexts, federation.identity, limits=Limits(unfinished=limit))
    first, second = (sealed_bytes(*member, 9) for _ in range(2))
    with store.begin() as work:
        for upload in work.uploads(member[1].site_id):
            work.delete_upload(upload.name)
    with ciphertexts.open_partial(blob_name(first.manifest.manifest)) as partial:
        list(partial.write([first.ciphertext.read_bytes()]))
    with store.begin() as work:
        now = datetime.now(UTC)
        work.put_upload(Upload(name=blob_name(first.manifest.manifest), site_id=member[1].site_id, continued_at=now))
    sending = service.receive(member[1].site_id, of_manifest(second.manifest), 0, [second.ciphertext.read_bytes()])
    if fits:
        assert isinstance([*sending][-1], Signed)
        with store.read() as reading:  # what is committed is none any more
            assert [upload.name for upload in reading.uploads(member[1].site_id)] == [
                blob_name(first.manifest.manifest)
            ]
    else:
        with pytest.raises(DiskFull):
            list(sending)


def test_what_came_again_and_was_not_committed_goes(
    federation: Federation, store: SqlStore, ciphertexts: CiphertextStore, member: tuple[SiteHome, Membership]
) -> None:
    """The row of its withdrawal is none that keeps it."""
    now = datetime.now(UTC)
    service = SubmissionService(store, ciphertexts, federation.identity, lambda: now)

    def send() -> Manifest:
        sealed = sealed_bytes(*member, 9)
        list(service.receive(member[1].site_id, of_manifest(sealed.manifest), 0, [sealed.ciphertext.read_bytes()]))
        return sealed.manifest.manifest

    withdrawn, standing = send(), send()
    for manifest in (withdrawn, standing):
        with store.begin() as work:
            row = work.submission(manifest.submission)
            assert row is not None
            if manifest is withdrawn:
                work.put_submission(row.model_copy(update={"state": SubmissionState.WITHDRAWN}))
            stale = now - WEEK - TICK
            work.put_upload(Upload(name=blob_name(manifest), site_id=member[1].site_id, continued_at=stale))
    send()
    assert [ciphertexts.is_final(blob_name(manifest)) for manifest in (withdrawn, standing)] == [False, True]


def test_everybodys_are_looked_at_once_an_hour(
    federation: Federation, store: SqlStore, ciphertexts: CiphertextStore, member: tuple[SiteHome, Membership]
) -> None:
    """A week old to the moment stays; older goes with the first upload of any site, and then not for an hour."""
    now = datetime.now(UTC).replace(microsecond=0)
    service = SubmissionService(store, ciphertexts, federation.identity, lambda: now)

    def leave(name: str, age: timedelta) -> None:
        with store.begin() as work:
            work.put_upload(Upload(name=Sha256(name * 64), site_id=STRANGER, continued_at=now - age))

    def left() -> str:
        sealed = sealed_bytes(*member, 9)
        list(service.receive(member[1].site_id, of_manifest(sealed.manifest), 0, [sealed.ciphertext.read_bytes()]))
        with store.read() as reading:
            return "".join(sorted(upload.name[0] for upload in reading.uploads(STRANGER)))

    leave("a", WEEK)
    leave("b", WEEK + TICK)
    assert left() == "a"
    leave("c", WEEK + TICK)
    now += timedelta(hours=1) - TICK
    assert left() == "ac"
    now += TICK
    assert left() == ""
