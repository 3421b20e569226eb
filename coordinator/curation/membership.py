"""The curator as a member: its home, its enrolment, and the site keys it has pinned."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import grpc
from pydantic import ValidationError

from coordinator.curation.keys import TLS_FILE, CuratorKeys, load_curator_keys, make_curator_keys
from shared.crypto import pki
from shared.crypto.pki import Peer, Role
from shared.durable import write_whole
from shared.enrolment import Enrolment
from shared.errors import CertificateForeign, HomeExists, NotEnrolled, ProtocolMismatch, SignatureInvalid
from shared.frozen import Frozen
from shared.ids import Sha256, SiteId
from shared.manifest import canonical_json
from shared.member import Member, check_clock
from shared.proto.ricord.v1.enrolment_pb2 import EnrolRequest, EnrolResponse
from shared.proto.ricord.v1.enrolment_pb2_grpc import EnrolmentServiceStub
from shared.protocol.loader import load_protocol
from shared.settings import load_settings
from shared.signed import Signed
from shared.token import Addresses, Token, TokenKind, secret_digest
from shared.wire import UNARY_SECONDS, at_enrolment, to_signed

PROGRAM = "ricord-coordinator curate"


class CuratorSettings(Frozen):
    """`curator.toml`."""

    protocol: str = "ricord"


class CuratorMembership(Frozen):
    """What enrolment returned."""

    name: str
    federation: str
    addresses: Addresses
    coordinator_verify_key: str


@dataclass(frozen=True)
class CuratorHome:
    """Where a curator keeps keys, identity and opened studies."""

    folder: Path

    @property
    def settings_file(self) -> Path:
        """`curator.toml`, written last."""
        return self.folder / "curator.toml"

    @property
    def keys(self) -> Path:
        """The age identity, the signing key and the TLS key."""
        return self.folder / "keys"

    @property
    def opened(self) -> Path:
        """`<SITEID>/<study UID>/` of each opened study."""
        return self.folder / "opened"

    @property
    def fetching(self) -> Path:
        """Ciphertext that is not whole yet: a fetch that was cut goes on with it."""
        return self.folder / "fetching"

    @property
    def root(self) -> Path:
        """The federation's root certificate."""
        return self.folder / "identity" / "root.pem"

    @property
    def certificate(self) -> Path:
        """The curator's certificate."""
        return self.folder / "identity" / "certificate.pem"

    @property
    def membership_file(self) -> Path:
        """What enrolment returned."""
        return self.folder / "identity" / "membership.json"

    def settings(self) -> CuratorSettings:
        """Read `curator.toml`."""
        return load_settings(self.settings_file, CuratorSettings, program=PROGRAM)

    def membership(self) -> CuratorMembership:
        """Read the membership; raises `NotEnrolled`."""
        try:
            return CuratorMembership.model_validate_json(self.membership_file.read_bytes())
        except (FileNotFoundError, ValidationError) as error:
            raise NotEnrolled(folder=str(self.folder)) from error

    def site_key(self, site_id: SiteId, offered: str) -> str:
        """The pinned key of a site: the first key `offered` is stored, and every later one must equal it.

        Raises `SignatureInvalid` when the coordinator offers another key than before.
        """
        file = self.folder / "identity" / "sites" / f"{site_id}.pub"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(file, offered.encode())
        if file.read_text(encoding="utf-8") != offered:
            raise SignatureInvalid(what=f"site {site_id}'s key, which is not the one known here")
        return offered


def join(home: CuratorHome, token_text: str, *, protocol: str) -> CuratorMembership:
    """Make the curator's keys and enrol with a join token; the coordinator learns recipient and public keys.

    Existing keys are used again, so that a second try after a failure, or a new certificate after one that expired
    (`enrol_again`), belongs to the same curator. Raises `HomeExists`, `TokenInvalid`, `TokenUsed`,
    `TokenExpired`, `ProtocolMismatch`, `CertificateForeign`, `ClockWrong`, `CoordinatorUnreachable`.
    """
    if home.settings_file.exists():
        raise HomeExists(folder=str(home.folder))
    return _join(home, token_text, protocol=protocol)


def enrol_again(home: CuratorHome, token_text: str) -> CuratorMembership:
    """Another certificate for the curator of `home`, by a new join token of the same federation.

    Raises what `join` raises, and `CertificateForeign` for another federation's token.
    """
    protocol = home.settings().protocol
    if Token.parse(token_text, kind=TokenKind.JOIN).root_pem.encode() != home.root.read_bytes():
        raise CertificateForeign("the token carries another root", peer="the coordinator of this token")
    return _join(home, token_text, protocol=protocol)


def _join(home: CuratorHome, token_text: str, *, protocol: str) -> CuratorMembership:
    token, digest = Token.parse(token_text, kind=TokenKind.JOIN), load_protocol(protocol).digest
    home.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    keys = load_curator_keys(home.keys) if home.keys.exists() else make_curator_keys(home.keys)
    csr = pki.make_csr(keys.tls)
    request = EnrolRequest(
        token_secret=token.secret,
        csr=csr,
        enrolment=to_signed(_enrolment(keys, csr, token=secret_digest(token.secret))),
        verify_key=keys.signing.public.text,
    )
    root = token.root_pem.encode()

    def ask(channel: grpc.Channel) -> EnrolResponse:
        check_clock(channel)
        return EnrolmentServiceStub(channel).Enrol(request, timeout=UNARY_SECONDS)

    answer = at_enrolment(token, ask)
    peer = pki.check_certificate(answer.certificate, root)
    if peer.role is not Role.CURATOR:
        raise CertificateForeign(peer=peer.uri)
    if answer.protocol_digest != digest:
        raise ProtocolMismatch(held=digest, wanted=answer.protocol_digest)
    membership = CuratorMembership(
        name=peer.name,
        federation=peer.federation,
        addresses=token.addresses,
        coordinator_verify_key=answer.coordinator_verify_key,
    )
    home.membership_file.parent.mkdir(exist_ok=True, mode=0o700)
    for path, data in (
        (home.root, root),
        (home.certificate, answer.certificate),
        (home.membership_file, canonical_json(membership)),
        (home.settings_file, f"# Settings of this curator.\n\nprotocol = {json.dumps(protocol)}\n".encode()),
    ):
        write_whole(path, data)
    return membership


def member_of(home: CuratorHome, keys: CuratorKeys) -> Member:
    """The curator as it connects; raises `NotEnrolled`."""
    membership = home.membership()
    return Member(
        addresses=membership.addresses,
        root=home.root,
        key=home.keys / TLS_FILE,
        certificate=home.certificate,
        uri=Peer(federation=membership.federation, role=Role.CURATOR, name=membership.name).uri,
        sign=lambda csr: _enrolment(keys, csr, token=None),
    )


def _enrolment(keys: CuratorKeys, csr: bytes, *, token: Sha256 | None) -> Signed:
    """A certificate request bound to the curator's signing key, and to a token unless it renews."""
    digest = Sha256(hashlib.sha256(csr).hexdigest())
    enrolment = Enrolment(csr_sha256=digest, token_sha256=token, recipient=keys.identity.recipient)
    return Signed.by(keys.signing, enrolment)
