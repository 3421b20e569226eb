"""The researcher as a member: home, keys and enrolment."""

from dataclasses import dataclass
from pathlib import Path

from coordinator.home.person import TLS_FILE, PersonHome, PersonKeys, PersonMembership, PersonSettings
from shared.crypto import keys
from shared.crypto.keys import find_passphrase
from shared.crypto.passphrase import Passphrase
from shared.crypto.pki import Role
from shared.federation.offer import offer_of
from shared.federation.plan import PlanRequest, Proposal
from shared.federation.proposal import propose
from shared.ids import RunId
from shared.member import Member
from shared.settings import load_settings
from shared.token import Token, TokenKind

PROGRAM = "ricord-research"
SIGNING_FILE = "signing.pem"


@dataclass(frozen=True)
class ResearcherHome(PersonHome):
    """Where a researcher keeps keys and identity; plans and results lie where they like."""

    role = Role.RESEARCHER

    @property
    def settings_file(self) -> Path:
        """`research.toml`."""
        return self.folder / "research.toml"

    def settings(self) -> PersonSettings:
        """Read `research.toml`."""
        return load_settings(self.settings_file, PersonSettings, program=PROGRAM)

    def load_keys(self) -> PersonKeys:
        """The keys, by the settings' passphrase; raises as `shared.crypto.keys.read_key` does."""
        return _load(self.keys, self.passphrase())

    def connecting(self) -> Member:
        """The researcher as they connect; raises `NotEnrolled`."""
        self.membership()
        return self.member(self.load_keys())

    def sign(self, request: PlanRequest) -> Proposal:
        """The request in this researcher's name, for a new run, signed."""
        own = self.load_keys()
        named = request.model_copy(update={"researcher": self.membership().name, "run": RunId.random()})
        return propose(named, key=own.signing, tls=own.tls, certificate=self.certificate.read_bytes())


def enrol(home: ResearcherHome, token: str, passphrase_file: Path | None = None) -> PersonMembership:
    """Make a researcher's keys and enrol with a join token; once enrolled, a new token gives a new certificate.

    Keys that exist are used again. Raises what `PersonHome.enrol` raises, `ProtocolMismatch`, and `CertificateForeign`
    for another federation's token.
    """
    Token.parse(token, kind=TokenKind.JOIN)  # before keys are made
    settings = PersonSettings(key_passphrase_file=passphrase_file)
    if home.settings_file.exists():
        settings = home.settings()
        home.check_token(token)
    passphrase = find_passphrase(settings.key_passphrase_file)
    home.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    own = _load(home.keys, passphrase) if home.keys.exists() else _make(home.keys, passphrase)
    return home.enrol(token, own, settings, check=offer_of)


def _make(folder: Path, passphrase: Passphrase | None) -> PersonKeys:
    signing = keys.make_signing(folder / SIGNING_FILE, passphrase)
    return PersonKeys(signing, keys.make_tls(folder / TLS_FILE, passphrase))


def _load(folder: Path, passphrase: Passphrase | None) -> PersonKeys:
    signing = keys.load_signing(folder / SIGNING_FILE, passphrase)
    return PersonKeys(signing, keys.load_tls(folder / TLS_FILE, passphrase))
