"""Fetch sealed studies from the coordinator and open them, trusting only what a site signed."""

import fcntl
import hashlib
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import grpc
from pydantic import ValidationError

from coordinator.curation.deciding import Decider
from coordinator.curation.keys import CuratorKeys
from coordinator.curation.membership import CuratorHome, member_of
from coordinator.curation.opening import LARGEST_STUDY, OpenedStudy, open_sealed
from coordinator.curation.purging import Purger, refuse_withdrawn
from coordinator.curation.second_look import look_again
from coordinator.home.person import PersonMembership
from coordinator.submission.streams import IdleWatch, watching
from shared.agreement import AgreementTerms, Consent, Execution, Scope
from shared.crypto.contents import Contents
from shared.crypto.sealing import AgeIdentity
from shared.crypto.signing import VerifyKey, verify_manifest
from shared.durable import LONGEST_PAUSE, clear_folder, reporting_full_disk
from shared.editions import ProtocolEdition
from shared.errors.base import RicordError
from shared.errors.storage import StorageError
from shared.errors.studies import ManifestInvalid, SealedFileInvalid
from shared.errors.transport import TransportError
from shared.errors.trust import SignatureInvalid
from shared.ids import Sha256
from shared.manifest import SignedManifest
from shared.member import member_channel
from shared.proto.ricord.v1 import submission_pb2 as pb
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.protocol.loader import Protocol
from shared.signed import to_manifest
from shared.wire import UNARY_SECONDS, from_rpc, from_signed

_KEPT = timedelta(days=7)  # a part of a ciphertext that is not continued


class Fetched(NamedTuple):
    """What came with a ciphertext: its manifest, the key that signed it, what opens it, the coordinator's row."""

    manifest: SignedManifest
    site_key: VerifyKey
    identity: AgeIdentity
    row: pb.Submission
    edition: ProtocolEdition  # under which it was made
    scope: Scope  # of its agreement


class Fetcher:
    """A curator's calls on one connection."""

    def __init__(
        self,
        channel: grpc.Channel,
        home: CuratorHome,
        membership: PersonMembership,
        keys: CuratorKeys,
        protocol: Protocol,
    ) -> None:
        self._stub = SubmissionServiceStub(channel)
        self._home = home
        self._membership = membership
        self._keys = keys
        self._protocol = protocol
        self.decider = Decider(channel, keys)
        self.purger = Purger(channel, home, keys)

    def submissions(self, after: int = 0) -> tuple[pb.Submission, ...]:
        """What the coordinator holds for this curator, after a number, in the order of arrival."""
        request, listed = pb.ListSubmissionsRequest(after=after), list[pb.Submission]()
        while True:
            page = self._stub.ListSubmissions(request, timeout=UNARY_SECONDS)
            listed.extend(page.submissions)
            if page.next <= request.after:  # the last page, or a coordinator that would never end
                return tuple(listed)
            request.after = page.next

    def open(self, submission_id: str) -> OpenedStudy:
        """Fetch and open one study into `opened/<SITEID>/<study UID>/`, and say so to the coordinator.

        A fetch that was cut goes on where it ended, also in another process. Raises what `open_sealed` and
        `look_again` raise, `SignatureInvalid` when the site's key is not the one known here or did not sign an
        agreement that names this curator, `CoordinatorUnreachable`, `UploadInterrupted`. Of a study that fails nothing
        stays but what a later fetch goes on with.
        """
        for folder in (self._home.opened, self._home.fetching):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = hashlib.sha256(submission_id.encode()).hexdigest()  # an id is the coordinator's word
        sealed = self._home.fetching / f"{name}.age"
        try:
            fetched = self._fetch(submission_id, sealed)
            opened = open_sealed(
                sealed,
                fetched.manifest,
                identity=fetched.identity,
                site_key=fetched.site_key,
                protocol_digest=fetched.edition.digest,
                out=self._home.opened,
                number=fetched.row.number,
                scope=fetched.scope,
                look=partial(self._look, edition=fetched.edition.edition),
            )
        except (TransportError, StorageError):
            raise
        except RicordError:
            sealed.unlink(missing_ok=True)
            raise
        sealed.unlink()
        self.decider.note_open(opened, fetched.row.state)
        return opened

    def _look(self, folder: Path, contents: Contents, *, edition: str) -> None:
        refuse_withdrawn(self._home, contents)
        look_again(folder, contents, self._protocol.profile, edition)

    def _fetch(self, submission_id: str, target: Path) -> Fetched:
        """Fetch until the ciphertext is whole, again and again while more of it comes."""
        while True:
            before = _size(target)
            try:
                return self._fetch_rest(submission_id, target)
            except grpc.RpcError as error:
                cut = from_rpc(error, self._membership.addresses.main)
                if not isinstance(cut, TransportError) or _size(target) <= before:
                    raise cut from error

    def _fetch_rest(self, submission_id: str, target: Path) -> Fetched:
        """Write what is missing: no byte before the manifest is verified, and no more than it states."""
        call = self._stub.Fetch(pb.FetchRequest(id=submission_id, offset=_size(target)))
        try:
            with watching(IdleWatch()) as idle:
                parts = idle.watched(call, call.cancel)
                first = next(parts, None)
                if first is None or not first.HasField("header"):
                    raise ManifestInvalid(problem="the coordinator sent none")
                signed = to_manifest(from_signed(first.header.manifest))
                site_key, identity, terms = self._parties(first.header, signed)
                manifest = verify_manifest(signed, site_key)
                if not manifest.submission.startswith(submission_id):
                    raise ManifestInvalid(problem="it is that of another submission")
                if manifest.ciphertext_size > LARGEST_STUDY:
                    raise ManifestInvalid(problem=f"it states more than {LARGEST_STUDY} bytes")
                write_at_most(manifest.ciphertext_size, target, (part.chunk for part in parts))
        finally:
            call.cancel()
        edition = edition_of(terms, manifest.protocol_digest, first.header.edition, installed=self._protocol.named)
        return Fetched(signed, site_key, identity, first.header.submission, edition, terms.scope)

    def _parties(self, header: pb.FetchHeader, signed: SignedManifest) -> tuple[VerifyKey, AgeIdentity, AgreementTerms]:
        """The site's key, which must have signed an agreement that is countersigned; the identity in it; its terms."""
        key, manifest = VerifyKey.parse(header.site_verify_key), signed.manifest
        consent = from_signed(header.consent)
        terms = consent.verified(key, Consent, what="the site's agreement").terms
        coordinator = VerifyKey.parse(self._membership.coordinator_verify_key)
        execution = from_signed(header.execution).verified(coordinator, Execution, what="the countersignature")
        identity = self._keys.named(terms.curator.recipient, terms.curator.fingerprint)
        if identity is None:
            raise SignatureInvalid("it names another curator", what="the site's agreement")
        agreed = (execution.consent_sha256, execution.site_id, terms.id, terms.version)
        if agreed != (consent.digest, manifest.site_id, manifest.agreement, manifest.agreement_version):
            raise SignatureInvalid("not the agreement of this study", what="the countersignature")
        return VerifyKey.parse(self._home.site_key(manifest.site_id, key.text)), identity, terms


@contextmanager
def fetching(home: CuratorHome, keys: CuratorKeys, protocol: Protocol) -> Iterator[Fetcher]:
    """A curator's connection, for one process at a time, since two would append to one ciphertext: the second waits.

    Raises what `member_channel` raises.
    """
    with (home.folder / "opening").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        clear_folder(home.folder, unchanged_for=LONGEST_PAUSE)
        before = time.time() - _KEPT.total_seconds()
        for sealed in home.fetching.glob("*.age"):
            if sealed.stat().st_mtime < before:
                sealed.unlink()
        with member_channel(member_of(home, keys)) as channel:
            yield Fetcher(channel, home, home.membership(), keys, protocol)


def edition_of(terms: AgreementTerms, digest: Sha256, named: str, *, installed: ProtocolEdition) -> ProtocolEdition:
    """The edition under which a study with that digest was made, where its agreement covers it; else the one installed.

    `named` is what the coordinator calls it: it decides between editions that the hospital agreed to, and nothing else.
    """
    if digest == terms.protocol_digest:
        named = terms.editions.signed if terms.editions else installed.edition
    try:
        made = ProtocolEdition(protocol=terms.protocol, edition=named, digest=digest)
    except ValidationError:
        return installed
    return made if digest != installed.digest and terms.covers(made) else installed


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def write_at_most(size: int, target: Path, chunks: Iterable[bytes]) -> None:
    """Append `chunks`; raises `SealedFileInvalid` before the file has more than `size` bytes, `DiskFull`."""
    with reporting_full_disk(target.parent), target.open("ab") as file:
        left = size - file.tell()
        for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                raise SealedFileInvalid(problem="more bytes came than its manifest states")
            file.write(chunk)
