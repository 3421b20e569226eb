"""The curator as a member: its home, its enrolment, and the site keys it has pinned."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from coordinator.curation.keys import (
    CuratorKeys,
    adopt_next_pair,
    load_curator_keys,
    make_curator_keys,
    next_pair,
)
from coordinator.home.person import PersonHome, PersonKeys, PersonMembership, PersonSettings
from shared.crypto import pki
from shared.crypto.keys import find_passphrase
from shared.crypto.pki import Role
from shared.durable import write_whole
from shared.enrolment import KeyRotation
from shared.errors.protocol import ProtocolMismatch
from shared.errors.trust import SignatureInvalid
from shared.ids import Sha256, SiteId
from shared.member import Member, member_channel
from shared.proto.ricord.v1.membership_pb2 import RotateKeysRequest
from shared.proto.ricord.v1.membership_pb2_grpc import MembershipServiceStub
from shared.protocol.loader import load_protocol
from shared.settings import load_settings
from shared.signed import Signed
from shared.token import Token, TokenKind
from shared.web.settings import ConsoleSettings
from shared.wire import UNARY_SECONDS, to_signed

PROGRAM = "ricord-coordinator curate"


READING_PORT = 8422


class ReadingSettings(ConsoleSettings):
    """The section `[reading]`: where films are read, another port than a coordinator's or a site's pages."""

    port: int = Field(default=READING_PORT, ge=1, le=65_535)


class CuratorSettings(PersonSettings):
    """`curator.toml`."""

    protocol: str = "ricord"
    reading: ReadingSettings = ReadingSettings()


@dataclass(frozen=True)
class CuratorHome(PersonHome):
    """Where a curator keeps keys, identity and opened studies."""

    role = Role.CURATOR

    @property
    def settings_file(self) -> Path:
        """`curator.toml`."""
        return self.folder / "curator.toml"

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
    def readers(self) -> Path:
        """Who may sign in to the reading's pages: names, roles, and digests of passphrases and sessions."""
        return self.folder / "readers.sqlite"

    @property
    def register(self) -> Path:
        """The studies that were opened, their states, reads and log."""
        return self.folder / "register.sqlite"

    def settings(self) -> CuratorSettings:
        """Read `curator.toml`."""
        return load_settings(self.settings_file, CuratorSettings, program=PROGRAM)

    def load_keys(self) -> CuratorKeys:
        """The keys, by the settings' passphrase; raises as `shared.crypto.keys.read_key` does."""
        return load_curator_keys(self.keys, self.passphrase())

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


def join(home: CuratorHome, token_text: str, *, protocol: str, passphrase_file: Path | None = None) -> PersonMembership:
    """Make the curator's keys and enrol with a join token; the coordinator learns recipient and public keys.

    Existing keys are used again, so that a second try after a failure, or a new certificate after one that expired
    (`enrol_again`), belongs to the same curator. Raises `HomeExists`, `TokenInvalid`, `TokenUsed`,
    `TokenExpired`, `ProtocolMismatch`, `CertificateForeign`, `ClockWrong`, `CoordinatorUnreachable`.
    """
    home.check_new()
    return _join(home, token_text, CuratorSettings(protocol=protocol, key_passphrase_file=passphrase_file))


def enrol_again(home: CuratorHome, token_text: str) -> PersonMembership:
    """Another certificate for the curator of `home`, by a new join token of the same federation.

    Raises what `join` raises, and `CertificateForeign` for another federation's token.
    """
    settings = home.settings()
    home.check_token(token_text)
    return _join(home, token_text, settings)


def _join(home: CuratorHome, token_text: str, settings: CuratorSettings) -> PersonMembership:
    Token.parse(token_text, kind=TokenKind.JOIN)  # before keys are made
    digest = load_protocol(settings.protocol).digest
    home.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    open_keys = load_curator_keys if home.keys.exists() else make_curator_keys
    keys = open_keys(home.keys, find_passphrase(settings.key_passphrase_file))

    def check(wanted: Sha256) -> None:
        if wanted != digest:
            raise ProtocolMismatch(held=digest, wanted=wanted)

    return home.enrol(token_text, _as_person(keys), settings, check=check)


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
        statement=to_signed(_as_person(CuratorKeys(*following, tls=keys.tls)).sign(csr)),
    )
    with member_channel(member_of(home, keys)) as channel:
        MembershipServiceStub(channel).RotateKeys(request, timeout=UNARY_SECONDS)
    adopt_next_pair(home.keys)
    return home.load_keys()


def member_of(home: CuratorHome, keys: CuratorKeys) -> Member:
    """The curator as it connects; raises `NotEnrolled`."""
    return home.member(_as_person(keys))


def _as_person(keys: CuratorKeys) -> PersonKeys:
    return PersonKeys(keys.signing, keys.tls, keys.identity.recipient)
