"""The researcher as a member: home, keys and enrolment."""

from dataclasses import dataclass
from pathlib import Path

from coordinator.home.keyed_person import KeyedHome
from coordinator.home.person import PersonMembership, PersonSettings
from shared.crypto.pki import Role
from shared.federation.offer import offer_of
from shared.federation.plan import PlanRequest, Proposal
from shared.federation.proposal import propose
from shared.ids import RunId
from shared.settings import load_settings

PROGRAM = "ricord-research"


@dataclass(frozen=True)
class ResearcherHome(KeyedHome):
    """Where a researcher keeps keys and identity; plans and results lie where they like."""

    role = Role.RESEARCHER

    @property
    def settings_file(self) -> Path:
        """`research.toml`."""
        return self.folder / "research.toml"

    def settings(self) -> PersonSettings:
        """Read `research.toml`."""
        return load_settings(self.settings_file, PersonSettings, program=PROGRAM)

    def sign(self, request: PlanRequest) -> Proposal:
        """The request in this researcher's name, for a new run, signed."""
        own = self.load_keys()
        named = request.model_copy(update={"researcher": self.membership().name, "run": RunId.random()})
        return propose(named, key=own.signing, tls=own.tls, certificate=self.certificate.read_bytes())


def enrol(home: ResearcherHome, token: str, passphrase_file: Path | None = None) -> PersonMembership:
    """Make a researcher's keys and enrol, also again; raises as `KeyedHome.join`, and `ProtocolMismatch`."""
    return home.join(token, PersonSettings(key_passphrase_file=passphrase_file), check=offer_of)
