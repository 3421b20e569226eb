"""A person with a signing key and a TLS key, such as a researcher or an observer."""

from collections.abc import Callable
from dataclasses import dataclass

from coordinator.home.person import TLS_FILE, PersonHome, PersonKeys, PersonMembership, PersonSettings
from shared.crypto import keys
from shared.crypto.keys import find_passphrase
from shared.crypto.passphrase import Passphrase
from shared.ids import Sha256
from shared.member import Member
from shared.token import Token, TokenKind

SIGNING_FILE = "signing.pem"


@dataclass(frozen=True)
class KeyedHome(PersonHome):
    """The home of such a person, who enrols by a join token and connects by the certificate."""

    def load_keys(self) -> PersonKeys:
        """The keys, by the settings' passphrase; raises as `shared.crypto.keys.read_key` does."""
        return self._load(self.passphrase())

    def connecting(self) -> Member:
        """The person as they connect; raises `NotEnrolled`."""
        self.membership()
        return self.member(self.load_keys())

    def join(self, token: str, settings: PersonSettings, *, check: Callable[[Sha256], object]) -> PersonMembership:
        """Make keys and enrol with a join token; once enrolled, a new token gives a new certificate.

        Keys that exist are used again. Raises what `PersonHome.enrol` raises, and `CertificateForeign` for another
        federation's token.
        """
        Token.parse(token, kind=TokenKind.JOIN)  # before keys are made
        if self.settings_file.exists():
            settings = self.settings()
            self.check_token(token)
        passphrase = find_passphrase(settings.key_passphrase_file)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        own = self._load(passphrase) if self.keys.exists() else self._make(passphrase)
        return self.enrol(token, own, settings, check=check)

    def _make(self, passphrase: Passphrase | None) -> PersonKeys:
        signing = keys.make_signing(self.keys / SIGNING_FILE, passphrase)
        return PersonKeys(signing, keys.make_tls(self.keys / TLS_FILE, passphrase))

    def _load(self, passphrase: Passphrase | None) -> PersonKeys:
        signing = keys.load_signing(self.keys / SIGNING_FILE, passphrase)
        return PersonKeys(signing, keys.load_tls(self.keys / TLS_FILE, passphrase))
