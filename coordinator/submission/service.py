"""Receive sealed studies: resumable, checked against agreement and signature, committed whole, receipted."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from coordinator.agreements.lifecycle import Act, check_permitted, terms_of
from coordinator.agreements.lookup import agreement_of, named_site_id, site_of, version_of
from coordinator.home.identity import Clock, Identity, utc_now
from coordinator.store.ciphertext import CiphertextStore, PartialCiphertext
from coordinator.store.interface import Reading, Store
from coordinator.store.paging import read_page
from coordinator.store.records import Agreement, ListedSubmission, SequenceFault, Submission, Upload
from coordinator.store.references import resolve
from coordinator.submission.claims import Claims
from shared.crypto.pki import Role
from shared.errors.agreements import SubmissionWithdrawn
from shared.errors.inputs import InvalidArgument, NotFound
from shared.errors.storage import DiskFull
from shared.errors.studies import ManifestInvalid, SealedFileInvalid
from shared.errors.transport import UploadInterrupted
from shared.errors.trust import RoleNotAllowed
from shared.frozen import LARGEST_NUMBER, Frozen
from shared.ids import Sha256, SiteId
from shared.manifest import Manifest
from shared.receipt import Receipt
from shared.signed import Signed
from shared.submission_state import SubmissionState

PAGE = 1000  # submissions
_STALE, _DROP_EVERY = timedelta(days=7), timedelta(hours=1)
_IN_RECEIPT = {
    "site_id",
    "agreement",
    "agreement_version",
    "sequence",
    "contents_sha256",
    "ciphertext_sha256",
    "ciphertext_size",
}


class Received(NamedTuple):
    """The receipt of a study that was committed before, and the manifest that it is over."""

    receipt: Signed
    manifest: Signed


class Offset(NamedTuple):
    """How far a study has come: durable bytes, or all of one that was committed before."""

    durable: int
    received: Received | None = None


class Page(NamedTuple):
    """A part of a list; `next` is what the rest comes after, 0 where there is none."""

    rows: Sequence[ListedSubmission]
    next: int


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
        self._store = store
        self._ciphertexts = ciphertexts
        self._identity = identity
        self._now = clock
        self._drop_next = datetime.min.replace(tzinfo=UTC)

    def offset(self, site_id: SiteId, signed: Signed) -> Offset:
        """How much of a study is durable here; raises what `Claims.verified` raises.

        One that was committed has its receipt whatever became of the agreement since; for another one the agreement is
        asked, and it raises what `Claims.check_agreed` raises.
        """
        with self._store.read() as reading:
            manifest, committed = self._looked_up(reading, site_id, signed)
        if committed is not None:
            return Offset(committed.ciphertext_size, _received(committed))
        return Offset(min(self._ciphertexts.durable(blob_name(manifest)), manifest.ciphertext_size))

    def receive(
        self, site_id: SiteId, signed: Signed, offset: int, chunks: Iterable[bytes]
    ) -> Iterator[int | Signed | Received]:
        """Receive the rest of a study from `offset` on: yields durable sizes, then the receipt.

        Of one that was received before it yields that, and reads nothing. What arrived before an interruption is kept.
        Raises what `offset` raises, `UploadInterrupted` when another upload is under way or `offset` is not where the
        arrived bytes end, `ManifestInvalid` for too many or too few bytes, `SealedFileInvalid` when the whole has
        another digest (it is discarded then), `StoreUnreachable`, and `DiskFull`, also when the site's unfinished
        uploads reach its limit.
        """
        with self._store.read() as reading:
            manifest, committed = self._looked_up(reading, site_id, signed)
            uploads = reading.uploads(site_id)
        if committed is not None:
            yield _received(committed)
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
                receipt = self._commit(site_id, signed, manifest, partial)
            except SubmissionWithdrawn:  # while it was on its way
                partial.discard()
                raise
            yield receipt

    def page(self, *, site: str, curator: str | None, after: int, limit: int, by_change: bool = False) -> Page:
        """What was received after the submission of that number, oldest first, at most `limit` (0: a whole page).

        With `by_change`, what changed its state after the change of that number, in the order of the last changes.
        With a `curator`, only what is sealed to that curator, who names a site by its SITEID; else `site` is named as
        people name it. Raises `NotFound`, `AmbiguousReference`, `InvalidIdentifier`.
        """
        after = min(after, LARGEST_NUMBER)
        with self._store.read() as reading:
            site_id = None if not site else SiteId(site) if curator else named_site_id(reading, site)
            rows, more = read_page(
                lambda limit: reading.listed_submissions(
                    site_id=site_id, curator=curator, after=after, limit=limit, by_change=by_change
                ),
                limit,
                PAGE,
            )
        last = rows[-1] if more else None
        return Page(rows, (last.changed if by_change else last.number) if last else 0)

    def sequence_faults(self, *, site: str, after: str, limit: int) -> tuple[Sequence[SequenceFault], str]:
        """Missing and repeated sequence numbers of a site or all, at most `limit` (0: a whole page).

        With them what the rest comes after, empty where there is none. Raises as `page` does, and `InvalidArgument`.
        """
        last = re.fullmatch(r"([0-9]{6}):([0-9]{1,19})", after or "000000:0")
        if last is None:
            raise InvalidArgument(name="after", problem="give what the page before named as its next")
        place = last[1], min(int(last[2]), LARGEST_NUMBER)
        with self._store.read() as reading:
            site_id = named_site_id(reading, site) if site else None
            rows, more = read_page(
                lambda limit: reading.sequence_faults(site_id, after=place, limit=limit), limit, PAGE
            )
        return rows, f"{rows[-1].site_id}:{rows[-1].sequence}" if more else ""

    def submission(self, reference: str, *, curator: str | None = None) -> Submission:
        """One of them; raises as `named_submission` does."""
        with self._store.read() as reading:
            return named_submission(reading, reference, curator=curator)

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
        manifest = self._claims.verified(reading, site_id, signed)
        committed = _standing(reading, manifest.submission)
        if committed is None:
            self._claims.check_agreed(reading, site_id, manifest)
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

    def _commit(
        self, site_id: SiteId, signed: Signed, manifest: Manifest, partial: PartialCiphertext
    ) -> Signed | Received:
        """Commit row, audit event and receipt of a final ciphertext together.

        It is final and durable before the row exists. A failure or a refusal in between leaves a ciphertext that the
        next `offset` finds again, within the site's quota; never a row without its ciphertext.
        """
        name, now, key = blob_name(manifest), self._now(), manifest.submission
        with self._store.begin() as work:
            terms = self._claims.check_still_agreed(work, site_id, manifest, now)
            work.delete_upload(name)
            committed = _standing(work, key)
            if committed is not None:
                if blob_name(committed) != name:  # sealed twice, and the other one was first
                    partial.discard()
                return _received(committed)
            uri = self._identity.uri(Role.SITE, site_id)
            event = work.append_event(at=now, actor=uri, action="study received", about=key)
            receipt = Receipt(
                submission=key,
                study=manifest.study,
                received_at=now,
                audit_number=event.number,
                audit_head=event.digest,
                **manifest.model_dump(include=_IN_RECEIPT),
            )
            signed_receipt = Signed.by(self._identity.signing_key, receipt)
            work.put_submission(  # in place of one that was withdrawn and may come again
                Submission(
                    id=key,
                    number=event.number,
                    curator=terms.curator.name,
                    study=manifest.study,
                    manifest=signed,
                    receipt=signed_receipt,
                    received_at=now,
                    changed=event.number,
                    **manifest.model_dump(include=_IN_RECEIPT),
                )
            )
        return signed_receipt


def blob_name(study: Manifest | Submission) -> Sha256:
    """The file's name: a study sealed again has another ciphertext, so its upload starts over."""
    submission = study.id if isinstance(study, Submission) else study.submission
    return Sha256(hashlib.sha256(f"{submission}{study.ciphertext_sha256}".encode()).hexdigest())


def _standing(reading: Reading, submission: Sha256) -> Submission | None:
    """The submission of that id, unless it was withdrawn: then it is as if it had never come."""
    row = reading.submission(submission)
    return None if row is None or row.state is SubmissionState.WITHDRAWN else row


def _received(row: Submission) -> Received:
    return Received(row.receipt, row.manifest)


def named_submission(reading: Reading, reference: str, *, curator: str | None = None) -> Submission:
    """The submission that a person means, by its id or a beginning; raises `NotFound`, `AmbiguousReference`.

    What is sealed to another than `curator` is not there.
    """
    row = reading.submission(Sha256(resolve(reading, "submission", reference, curator=curator)))
    if row is None:
        raise NotFound(kind="submission", name=reference)
    return row


def _bounded(chunks: Iterable[bytes], left: int) -> Iterator[bytes]:
    """The same chunks; raises `ManifestInvalid` before more than `left` bytes in all are passed on."""
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            raise ManifestInvalid(problem="more bytes arrived than the manifest names")
        yield chunk
