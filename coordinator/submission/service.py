"""Receive sealed studies: resumable, checked against agreement and signature, committed whole, receipted."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from coordinator.agreements.lifecycle import Act, check_permitted, terms_of
from coordinator.agreements.lookup import agreement_of, named_site_id, site_of, version_of
from coordinator.home.identity import Clock, Identity, utc_now
from coordinator.store.ciphertext import CiphertextStore, PartialCiphertext
from coordinator.store.interface import Reading, Store, Work
from coordinator.store.paging import read_page
from coordinator.store.records import Agreement, ListedSubmission, SequenceFault, Submission, Upload
from coordinator.store.references import resolve
from coordinator.submission.claims import Claims
from shared.crypto.pki import Role
from shared.errors import (
    DiskFull,
    InvalidArgument,
    ManifestInvalid,
    NotFound,
    RoleNotAllowed,
    SealedFileInvalid,
    SubmissionWithdrawn,
    UploadInterrupted,
)
from shared.frozen import LARGEST_NUMBER, Frozen
from shared.ids import Sha256, SiteId
from shared.manifest import Manifest
from shared.receipt import Receipt
from shared.signed import Signed
from shared.submission_state import SubmissionState

PAGE = 1000  # submissions
_STALE = timedelta(days=7)
_IN_RECEIPT = {
    "site_id",
    "agreement",
    "agreement_version",
    "sequence",
    "contents_sha256",
    "ciphertext_sha256",
    "ciphertext_size",
}


class Offset(Frozen):
    """How far a study has come: durable bytes, or the receipt of one that was committed before."""

    manifest: Manifest  # verified
    durable: int
    receipt: Signed | None = None
    received: Signed | None = None  # with a receipt: the manifest that it is over


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

    def offset(self, site_id: SiteId, signed: Signed) -> Offset:
        """How much of a study is durable here; raises what `Claims.verified` raises.

        One that was committed has its receipt whatever became of the agreement since; for another one the agreement is
        asked, and it raises what `Claims.check_agreed` raises.
        """
        with self._store.read() as reading:
            manifest = self._claims.verified(reading, site_id, signed)
            committed = _standing(reading, manifest.submission)
            if committed is None:
                self._claims.check_agreed(reading, site_id, manifest)
        if committed is not None:
            return Offset(
                manifest=manifest,
                durable=committed.ciphertext_size,
                receipt=committed.receipt,
                received=committed.manifest,
            )
        durable = self._ciphertexts.durable(blob_name(manifest))
        return Offset(manifest=manifest, durable=min(durable, manifest.ciphertext_size))

    def receive(self, site_id: SiteId, signed: Signed, offset: int, chunks: Iterable[bytes]) -> Iterator[int | Signed]:
        """Receive the rest of a study from `offset` on: yields durable sizes, then the receipt.

        What arrived before an interruption is kept. Raises what `offset` raises, `UploadInterrupted` when another
        upload is under way or `offset` is not where the arrived bytes end, `ManifestInvalid` for too many or too few
        bytes, `SealedFileInvalid` when the whole has another digest (it is discarded then), `StoreUnreachable`, and
        `DiskFull`, also when the site's unfinished uploads reach its limit.
        """
        here = self.offset(site_id, signed)
        if here.receipt is not None:
            yield here.receipt
            return
        manifest, name = here.manifest, blob_name(here.manifest)
        self._admit(site_id, manifest)
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

    def _admit(self, site_id: SiteId, manifest: Manifest) -> None:
        """Record which site uploads this study, if it fits the site's limit together with its other unfinished uploads.

        Raises `DiskFull`. Uploads not continued for a week are removed first.
        """
        name, before = blob_name(manifest), self._now() - _STALE
        with self._store.read() as reading:
            stale = bool(reading.uploads(before=before))
        if stale:
            with self._store.begin() as work:
                self._drop_stale(work, before)
        with self._store.read() as reading:
            others = [upload.name for upload in reading.uploads(site_id) if upload.name != name]
        unfinished = sum(map(self._ciphertexts.arrived, others))  # no transaction waits for a bucket that is far away
        if unfinished + manifest.ciphertext_size > self._limits.unfinished:
            raise DiskFull(f"unfinished uploads of {site_id}", folder="one site's part of the sealed studies")
        with self._store.begin(synced=False) as work:  # the row of the study, or the next one, makes it durable, too
            work.put_upload(Upload(name=name, site_id=site_id, continued_at=self._now()))

    def _drop_stale(self, work: Work, before: datetime) -> None:
        """Remove the uploads not continued since, also the final ciphertext of one whose commit never came."""
        for upload in work.uploads(before=before):
            final = self._ciphertexts.is_final(upload.name)
            committed = final and any(
                row.state is not SubmissionState.WITHDRAWN and blob_name(row) == upload.name
                for row in work.submissions(upload.site_id)
            )
            if committed or self._ciphertexts.delete(upload.name):
                work.delete_upload(upload.name)

    def _commit(self, site_id: SiteId, signed: Signed, manifest: Manifest, partial: PartialCiphertext) -> Signed:
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
                return committed.receipt
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
