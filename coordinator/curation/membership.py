"""The curator as a member: its home, its enrolment, and the site keys it has pinned."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import grpc
from pydantic import ValidationError

from coordinator.curation.keys import (
    TLS_FILE,
    CuratorKeys,
    adopt_next_pair,
    load_curator_keys,
    make_curator_keys,
    next_pair,
)
from shared.crypto import pki
from shared.crypto.keys import find_passphrase
from shared.crypto.passphrase import Passphrase
from shared.crypto.pki import Peer, Role
from shared.durable import write_whole
from shared.enrolment import Enrolment, KeyRotation
from shared.errors.protocol import ProtocolMismatch
from shared.errors.settings import HomeExists
from shared.errors.trust import CertificateForeign, NotEnrolled, SignatureInvalid
from shared.frozen import Frozen
from shared.ids import Sha256, SiteId
from shared.manifest import canonical_json
from shared.member import Member, check_clock, member_channel
from shared.proto.ricord.v1.enrolment_pb2 import EnrolRequest, EnrolResponse
from shared.proto.ricord.v1.enrolment_pb2_grpc import EnrolmentServiceStub
from shared.proto.ricord.v1.membership_pb2 import RotateKeysRequest
from shared.proto.ricord.v1.membership_pb2_grpc import MembershipServiceStub
from shared.protocol.loader import load_protocol
from shared.settings import load_settings
from shared.signed import Signed
from shared.token import Addresses, Token, TokenKind, secret_digest
from shared.wire import UNARY_SECONDS, at_enrolment, to_signed

PROGRAM = "ricord-coordinator curate"


class CuratorSettings(Frozen):
    """`curator.toml`."""

    protocol: str = "ricord"
    key_passphrase_file: Path | None = None  # of the keys; else systemd's credential


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
    def purges(self) -> Path:
        """`<number>.json`: the signed statement of what was purged for each withdrawal."""
        return self.folder / "purges"

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

    def passphrase(self) -> Passphrase | None:
        """Of the keys; raises what `find_passphrase` raises."""
        return find_passphrase(self.settings().key_passphrase_file)

    def load_keys(self) -> CuratorKeys:
        """The keys, by the settings' passphrase; raises as `shared.crypto.keys.read_key` does."""
        return load_curator_keys(self.keys, self.passphrase())

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


def join(
    home: CuratorHome, token_text: str, *, protocol: str, passphrase_file: Path | None = None
) -> CuratorMembership:
    """Make the curator's keys and enrol with a join token; the coordinator learns recipient and public keys.

    Existing keys are used again, so that a second try after a failure, or a new certificate after one that expired
    (`enrol_again`), belongs to the same curator. Raises `HomeExists`, `TokenInvalid`, `TokenUsed`,
    `TokenExpired`, `ProtocolMismatch`, `CertificateForeign`, `ClockWrong`, `CoordinatorUnreachable`.
    """
    if home.settings_file.exists():
        raise HomeExists(folder=str(home.folder))
    return _join(home, token_text, CuratorSettings(protocol=protocol, key_passphrase_file=passphrase_file))


def enrol_again(home: CuratorHome, token_text: str) -> CuratorMembership:
    """Another certificate for the curator of `home`, by a new join token of the same federation.

    Raises what `join` raises, and `CertificateForeign` for another federation's token.
    """
    settings = home.settings()
    if Token.parse(token_text, kind=TokenKind.JOIN).root_pem.encode() != home.root.read_bytes():
        raise CertificateForeign("the token carries another root", peer="the coordinator of this token")
    return _join(home, token_text, settings)


def _join(home: CuratorHome, token_text: str, settings: CuratorSettings) -> CuratorMembership:
    token, digest = Token.parse(token_text, kind=TokenKind.JOIN), load_protocol(settings.protocol).digest
    home.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    open_keys = load_curator_keys if home.keys.exists() else make_curator_keys
    keys = open_keys(home.keys, find_passphrase(settings.key_passphrase_file))
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
        (home.settings_file, _settings_text(settings).encode()),
    ):
        write_whole(path, data)
    return membership


def _settings_text(settings: CuratorSettings) -> str:
    values = settings.model_dump(mode="json", exclude_none=True)
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return "\n".join(["# Settings of this curator.", "", *lines, ""])


def rotate(home: CuratorHome) -> CuratorKeys:
    """Make the curator's next keys and have the coordinator register them; returns them with the former ones.

    One that was cut short goes on with the keys that it made. Raises what `member_channel` and `load_keys` raise.
    """
    keys = home.load_keys()
    following = next_pair(home.keys, home.passphrase())
    verify_key, recipient = following.signing.public.text, following.identity.recipient
    rotation = KeyRotation(name=home.membership().name, verify_key=verify_key, recipient=recipient)
    csr = pki.make_csr(keys.tls)
    request = RotateKeysRequest(
        rotation=to_signed(Signed.by(keys.signing, rotation)),
        statement=to_signed(_enrolment(CuratorKeys(*following, tls=keys.tls), csr, token=None)),
    )
    with member_channel(member_of(home, keys)) as channel:
        MembershipServiceStub(channel).RotateKeys(request, timeout=UNARY_SECONDS)
    adopt_next_pair(home.keys)
    return home.load_keys()


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
        passphrase=home.passphrase(),
    )


def _enrolment(keys: CuratorKeys, csr: bytes, *, token: Sha256 | None) -> Signed:
    """A certificate request bound to the curator's signing key, and to a token unless it renews."""
    digest = Sha256(hashlib.sha256(csr).hexdigest())
    enrolment = Enrolment(csr_sha256=digest, token_sha256=token, recipient=keys.identity.recipient)
    return Signed.by(keys.signing, enrolment)
