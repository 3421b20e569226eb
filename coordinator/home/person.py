"""A person who is a member, a curator or a researcher: where keys and certificate lie, and how they come to be."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import grpc
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from pydantic import ValidationError

from shared.crypto import pki
from shared.crypto.keys import find_passphrase
from shared.crypto.passphrase import Passphrase
from shared.crypto.pki import Peer, Role
from shared.crypto.signing import SigningKey
from shared.durable import write_whole
from shared.enrolment import Enrolment
from shared.errors.settings import HomeExists
from shared.errors.trust import CertificateForeign, NotEnrolled
from shared.frozen import Frozen
from shared.ids import Sha256
from shared.manifest import canonical_json
from shared.member import Member, check_clock
from shared.proto.ricord.v1.enrolment_pb2 import EnrolRequest, EnrolResponse
from shared.proto.ricord.v1.enrolment_pb2_grpc import EnrolmentServiceStub
from shared.signed import Signed
from shared.token import Addresses, Token, TokenKind, secret_digest
from shared.wire import UNARY_SECONDS, at_enrolment, to_signed

TLS_FILE = "tls.pem"


class PersonSettings(Frozen):
    """What the settings of every person may say."""

    key_passphrase_file: Path | None = None  # of the keys; else systemd's credential


class PersonMembership(Frozen):
    """What enrolment returned."""

    name: str
    federation: str
    addresses: Addresses
    coordinator_verify_key: str


class PersonKeys(NamedTuple):
    """The keys by which a person enrols; `recipient` is a curator's."""

    signing: SigningKey
    tls: EllipticCurvePrivateKey
    recipient: str | None = None

    def sign(self, csr: bytes, *, token: Sha256 | None = None) -> Signed:
        """A certificate request bound to the signing key, and to a token unless it renews."""
        digest = Sha256(hashlib.sha256(csr).hexdigest())
        return Signed.by(self.signing, Enrolment(csr_sha256=digest, token_sha256=token, recipient=self.recipient))


@dataclass(frozen=True)
class PersonHome(ABC):
    """Where a person's program keeps keys, identity and settings."""

    folder: Path
    role: ClassVar[Role]

    @property
    @abstractmethod
    def settings_file(self) -> Path:
        """The settings, written last."""

    @abstractmethod
    def settings(self) -> PersonSettings:
        """Read the settings."""

    @property
    def keys(self) -> Path:
        """The folder of the private keys."""
        return self.folder / "keys"

    @property
    def root(self) -> Path:
        """The federation's root certificate."""
        return self.folder / "identity" / "root.pem"

    @property
    def certificate(self) -> Path:
        """The person's certificate."""
        return self.folder / "identity" / "certificate.pem"

    @property
    def membership_file(self) -> Path:
        """What enrolment returned."""
        return self.folder / "identity" / "membership.json"

    def passphrase(self) -> Passphrase | None:
        """Of the keys; raises what `find_passphrase` raises."""
        return find_passphrase(self.settings().key_passphrase_file)

    def membership(self) -> PersonMembership:
        """Read the membership; raises `NotEnrolled`."""
        try:
            return PersonMembership.model_validate_json(self.membership_file.read_bytes())
        except (FileNotFoundError, ValidationError) as error:
            raise NotEnrolled(folder=str(self.folder)) from error

    def check_new(self) -> None:
        """Raise `HomeExists` for a home that has settings already."""
        if self.settings_file.exists():
            raise HomeExists(folder=str(self.folder))

    def check_token(self, token_text: str) -> None:
        """Raise `CertificateForeign` for a token of another federation than this home's."""
        if Token.parse(token_text, kind=TokenKind.JOIN).root_pem.encode() != self.root.read_bytes():
            raise CertificateForeign("the token carries another root", peer="the coordinator of this token")

    def enrol(
        self, token_text: str, keys: PersonKeys, settings: PersonSettings, *, check: Callable[[Sha256], object]
    ) -> PersonMembership:
        """Exchange a join token for a certificate; identity and `settings` are written once `check` passes.

        It is given the digest of the coordinator's protocol. Raises `TokenInvalid`, `TokenUsed`, `TokenExpired`,
        `CertificateForeign`, `ClockWrong`, `CoordinatorUnreachable`, and what `check` raises.
        """
        token, csr = Token.parse(token_text, kind=TokenKind.JOIN), pki.make_csr(keys.tls)
        request = EnrolRequest(
            token_secret=token.secret,
            csr=csr,
            enrolment=to_signed(keys.sign(csr, token=secret_digest(token.secret))),
            verify_key=keys.signing.public.text,
        )

        def ask(channel: grpc.Channel) -> EnrolResponse:
            check_clock(channel)
            return EnrolmentServiceStub(channel).Enrol(request, timeout=UNARY_SECONDS)

        answer, root = at_enrolment(token, ask), token.root_pem.encode()
        peer = pki.check_certificate(answer.certificate, root)
        if peer.role is not self.role:
            raise CertificateForeign(peer=peer.uri)
        check(Sha256(answer.protocol_digest))
        membership = PersonMembership(
            name=peer.name,
            federation=peer.federation,
            addresses=token.addresses,
            coordinator_verify_key=answer.coordinator_verify_key,
        )
        self.membership_file.parent.mkdir(exist_ok=True, mode=0o700)
        for path, data in (
            (self.root, root),
            (self.certificate, answer.certificate),
            (self.membership_file, canonical_json(membership)),
            (self.settings_file, settings_text(settings, self.role).encode()),
        ):
            write_whole(path, data)
        return membership

    def member(self, keys: PersonKeys) -> Member:
        """The person as they connect; raises `NotEnrolled`."""
        membership = self.membership()
        return Member(
            addresses=membership.addresses,
            root=self.root,
            key=self.keys / TLS_FILE,
            certificate=self.certificate,
            uri=Peer(federation=membership.federation, role=self.role, name=membership.name).uri,
            sign=keys.sign,
            passphrase=self.passphrase(),
        )


def settings_text(settings: PersonSettings, role: Role) -> str:
    """As TOML; of a section what differs from its defaults."""
    values = settings.model_dump(mode="json", exclude_none=True)
    changed = settings.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    sections = {name: changed[name] for name, value in values.items() if isinstance(value, dict) and changed.get(name)}
    lines = [f"# Settings of this {role}.", "", *_lines(values)]
    for name, section in sections.items():
        lines += ["", f"[{name}]", *_lines(section)]
    return "\n".join([*lines, ""])


def _lines(values: Mapping[str, object]) -> list[str]:
    return [
        f"{name} = {json.dumps(value, ensure_ascii=False)}"
        for name, value in values.items()
        if not isinstance(value, dict)
    ]
