"""How far a home has come on its way to membership, by its files alone, and who must do what next."""

from datetime import datetime
from enum import StrEnum

from shared.agreement import Consent, State
from shared.agreement_steps import next_step
from shared.crypto.keys import load_signing
from shared.frozen import Frozen
from shared.signed import Signed
from site_node.home.folder import SiteHome
from site_node.membership.record import IdentityFiles


class LocalState(StrEnum):
    """Where the agreement stands for this home."""

    UNKNOWN = "not read here"
    READ = "read and not signed"
    SIGNED = "signed here, without a join token yet"
    ENROLLED = "enrolled"


class Step(Frozen):
    """A state, who does what next, and since when the coordinator has been waited for."""

    state: LocalState
    next: str
    since: datetime | None = None


def step_of(home: SiteHome) -> Step:
    """The step that a home is at; raises `SignatureInvalid` for a consent that is not this home's."""
    files = IdentityFiles(home)
    if files.membership.exists():
        return Step(state=LocalState.ENROLLED, next=next_step(State.EXECUTED))
    if files.consent.exists():
        signed = Signed.model_validate_json(files.consent.read_bytes())
        consent = signed.verified(load_signing(home.signing_key).public, Consent, what="the agreement")
        return Step(state=LocalState.SIGNED, next=next_step(State.SIGNED), since=consent.signed_at)
    state = State.DRAFTED if files.draft.exists() else State.INTERESTED
    return Step(state=LocalState.READ if files.draft.exists() else LocalState.UNKNOWN, next=next_step(state))
