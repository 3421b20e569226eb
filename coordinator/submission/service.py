"""Receive sealed studies: resumable, checked against agreement and signature, committed whole, receipted."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from coordinator.agreements.lifecycle import Act, check_permitted, terms_of
from coordinator.agreements.lookup import agreement_of, site_of, version_of
from coordinator.home.identity import Clock, Identity, utc_now
from coordinator.store.ciphertext import CiphertextStore
from coordinator.store.interface import Reading, Store
from coordinator.store.records import Agreement, Submission, Upload
from coordinator.submission.claims import Claims
from coordinator.submission.commits import Arrival, Commits, Received
from coordinator.submission.lookup import blob_name, named_submission, standing_submission
from shared.crypto.pki import Role
from shared.errors.agreements import SubmissionWithdrawn
from shared.errors.storage import DiskFull
from shared.errors.studies import ManifestInvalid, SealedFileInvalid
from shared.errors.transport import UploadInterrupted
from shared.errors.trust import RoleNotAllowed
from shared.frozen import Frozen
from shared.ids import SiteId
from shared.manifest import Manifest
from shared.signed import Signed
from shared.submission_state import SubmissionState

_STALE, _DROP_EVERY = timedelta(days=7), timedelta(hours=1)


class Offset(NamedTuple):
    """How far a study has come: durable bytes, or all of one that was committed before."""

    durable: int
    received: Received | None = None


class FetchedStudy(Frozen):
    """What a curator needs to check a sealed study: the row, the site's key and the agreement."""

    row: Submission
    site_key: str  # OpenSSH line
    agreement: Agreement
    edition: str  # the name of the protocol's; empty where it is not known


class Limits(Frozen):
    """How much of the disk one study, and one site's unfinished uploads together, may take, in bytes."""

    study: int = 64 << 30
    unfinished: int = 128 << 30


DEFAULT_LIMITS = Limits()


class SubmissionService:
    """Sealed studies, from the first byte to the curator."""

    def __init__(
        self,
        store: Store,
        ciphertexts: CiphertextStore,
        identity: Identity,
        clock: Clock = utc_now,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._limits = limits
        self._claims = Claims(identity, clock, limits.study)
        self._commits = Commits(store, self._claims, identity, clock)
        self._store = store
        self._ciphertexts = ciphertexts
        self._identity = identity
        self._now = clock
        self._drop_next = datetime.min.replace(tzinfo=UTC)

    def offset(self, site_id: SiteId, signed: Signed) -> Offset:
        """How much of a study is durable here; raises what `Claims.verified` raises.

        One that was committed has its receipt whatever became of the agreement since; for another one the agreement is
        asked, and it raises what `Claims.terms` and `Claims.check` raise.
        """
        with self._store.read() as reading:
            manifest, committed = self._looked_up(reading, site_id, signed)
        if committed is not None:
            return Offset(committed.ciphertext_size, Received(committed.receipt, committed.manifest))
        return Offset(min(self._ciphertexts.durable(blob_name(manifest)), manifest.ciphertext_size))

    def receive(
        self, site_id: SiteId, signed: Signed, offset: int, chunks: Iterable[bytes]
    ) -> Iterator[int | Signed | Received]:
        """Receive the rest of a study from `offset` on: yields durable sizes, then the receipt.

        Of one that was received before it yields that, and reads nothing. What arrived before an interruption is kept.
        The ciphertext is final and durable before its row exists: a failure or a refusal in between leaves one that the
        next `offset` finds again, within the site's quota; never a row without its ciphertext.
        Raises what `offset` raises, `UploadInterrupted` when another upload is under way or `offset` is not where the
        arrived bytes end, `ManifestInvalid` for too many or too few bytes, `SealedFileInvalid` when the whole has
        another digest (it is discarded then), `CertificateForeign` after a revocation, `StoreUnreachable`, and
        `DiskFull`, also when the site's unfinished uploads reach its limit.
        """
        with self._store.read() as reading:
            manifest, committed = self._looked_up(reading, site_id, signed)
            uploads = reading.uploads(site_id)
        if committed is not None:
            yield Received(committed.receipt, committed.manifest)
            return
        name = blob_name(manifest)
        self._admit(site_id, manifest, uploads)
        with self._ciphertexts.open_partial(name) as partial:
            if partial.size != offset:
                raise UploadInterrupted(f"it goes on at {offset}, and {partial.size} bytes are here")
            yield from partial.write(_bounded(chunks, manifest.ciphertext_size - offset))
            if partial.size < manifest.ciphertext_size:
                raise ManifestInvalid(problem="fewer bytes arrived than the manifest names")
            if not partial.finalise(manifest.ciphertext_sha256):
                raise SealedFileInvalid(problem="what arrived is not what the manifest names")
            try:
                outcome = self._commits.commit(Arrival(site_id, signed, manifest, partial))
            except SubmissionWithdrawn:  # while it was on its way
                partial.discard()
                raise
            yield outcome

    def fetch(self, curator: str, reference: str, offset: int = 0) -> tuple[FetchedStudy, Iterator[bytes]]:
        """A sealed study for the curator it is sealed to: what the store has on it, then its bytes from `offset` on.

        Raises `NotFound`; `RoleNotAllowed` for another curator than the agreement's; `AgreementNotExecuted` while the
        agreement is not in force, unless it only expired: what was received before stays the curator's to open.
        `SubmissionWithdrawn` for what was withdrawn.
        """
        with self._store.begin() as work:
            row = named_submission(work, reference)
            current = agreement_of(work, row.agreement)
            agreement = version_of(work, current, row.agreement_version)
            if terms_of(agreement).curator.name != curator:
                raise RoleNotAllowed(f"{curator} is not the curator of {row.agreement}", role="curator")
            check_permitted(current, Act.FETCH, self._now())
            if row.state is SubmissionState.WITHDRAWN:
                raise SubmissionWithdrawn(study=row.study)
            made = work.edition(Manifest.model_validate_json(row.manifest.document).protocol_digest)
            fetched = FetchedStudy(
                row=row,
                site_key=site_of(work, row.site_id).verify_key or "",
                agreement=agreement,
                edition=made.edition if made else "",
            )
            uri = self._identity.uri(Role.CURATOR, curator)
            work.append_event(at=self._now(), actor=uri, action="study fetched", about=row.id, result="begun")
        return fetched, self._ciphertexts.read(blob_name(row), offset)

    def _looked_up(self, reading: Reading, site_id: SiteId, signed: Signed) -> tuple[Manifest, Submission | None]:
        """The verified manifest, and the row of a study that was committed; another one's agreement is asked."""
        site = site_of(reading, site_id)
        manifest = self._claims.verified(site, signed)
        committed = standing_submission(reading, manifest.submission)
        if committed is None:
            self._claims.check(reading, site_id, manifest, self._claims.terms(reading, site.agreement))
        return manifest, committed

    def _admit(self, site_id: SiteId, manifest: Manifest, uploads: Sequence[Upload]) -> None:
        """Record which site uploads this study, if it fits the site's limit together with its other unfinished uploads.

        Raises `DiskFull`. Uploads not continued for a week are removed first: the site's, and once an hour all.
        """
        name, now = blob_name(manifest), self._now()
        if now >= self._drop_next or any(upload.continued_at < now - _STALE for upload in uploads):
            self._drop_next = now + _DROP_EVERY
            uploads = self._drop_stale(site_id, now - _STALE)
        others = (upload.name for upload in uploads if upload.name != name)
        unfinished = sum(map(self._ciphertexts.arrived, others))  # no transaction waits for a bucket that is far away
        if unfinished + manifest.ciphertext_size > self._limits.unfinished:
            raise DiskFull(f"unfinished uploads of {site_id}", folder="one site's part of the sealed studies")
        with self._store.begin(synced=False) as work:  # the row of the study, or the next one, makes it durable, too
            work.put_upload(Upload(name=name, site_id=site_id, continued_at=now))

    def _drop_stale(self, site_id: SiteId, before: datetime) -> Sequence[Upload]:
        """Remove what was not continued since, also a final ciphertext without its row; what a site has left."""
        with self._store.begin() as work:
            for upload in work.uploads(before=before):
                final = self._ciphertexts.is_final(upload.name)
                committed = final and any(
                    row.state is not SubmissionState.WITHDRAWN and blob_name(row) == upload.name
                    for row in work.submissions(upload.site_id)
                )
                if committed or self._ciphertexts.delete(upload.name):
                    work.delete_upload(upload.name)
            return work.uploads(site_id)


def _bounded(chunks: Iterable[bytes], left: int) -> Iterator[bytes]:
    """The same chunks; raises `ManifestInvalid` before more than `left` bytes in all are passed on."""
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            raise ManifestInvalid(problem="more bytes arrived than the manifest names")
        yield chunk
