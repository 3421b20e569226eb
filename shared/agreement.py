"""An agreement's terms and who signed them, in the form in which they are signed.

The site signs a `Consent`, which holds the whole terms; the coordinator countersigns with an `Execution`, which names
that consent by digest and gives the SITEID. Each document names its own format, so that a signature over one can never
pass for another.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from shared.frozen import Frozen
from shared.ids import AgreementId, Sha256, SiteId


class Mode(StrEnum):
    """Ways of taking part that an agreement may allow."""

    COHORT = "cohort"  # pooled cohort summary
    SUBMIT = "submit"  # sealed studies leave the site
    STATISTICS = "statistics"  # federated statistics
    TRAINING = "training"  # federated training


class State(StrEnum):
    """Where an agreement stands (design section 5)."""

    INTERESTED = "interested"
    INVITED = "invited"
    DRAFTED = "drafted"
    SIGNED = "signed"
    EXECUTED = "executed"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"
    EXPIRED = "expired"


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a moment needs its time zone")
    return moment.astimezone(UTC)


Moment = Annotated[datetime, AfterValidator(_utc)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]


class Scope(Frozen):
    """Exhibit A: what kind of data the agreement covers, described generally so that later data are covered too."""

    description: Line
    modalities: tuple[str, ...] = Field(min_length=1)


class CuratorKeys(Frozen):
    """The one curator a site seals to: age recipient and fingerprint of the Ed25519 key."""

    name: str
    recipient: str
    fingerprint: str


class AgreementTerms(Frozen):
    """Everything the site agrees to. A change of any part is another version and another signature."""

    format: Literal["ricord-agreement/1"] = "ricord-agreement/1"
    id: AgreementId
    version: int = Field(ge=1)
    federation: str
    site_name: Line
    text_sha256: Sha256
    scope: Scope
    modes: tuple[Mode, ...] = Field(min_length=1)
    curator: CuratorKeys
    coordinator_fingerprint: str
    licence: Line
    protocol: str
    protocol_digest: Sha256
    ethics_reference: str = ""
    earlier_site_ids: tuple[SiteId, ...] = ()
    expires_at: Moment | None = None


class Consent(Frozen):
    """What the site's signatory signs, by the site's Ed25519 key."""

    format: Literal["ricord-consent/1"] = "ricord-consent/1"
    terms: AgreementTerms
    signatory: Line
    fingerprint: str  # of the site's own key
    signed_at: Moment


class Execution(Frozen):
    """What the coordinator signs when it countersigns: the agreement is in force from then on."""

    format: Literal["ricord-execution/1"] = "ricord-execution/1"
    agreement: AgreementId
    version: int = Field(ge=1)
    consent_sha256: Sha256
    site_id: SiteId
    executed_at: Moment
