"""An agreement's terms and who signed them, in the form in which they are signed.

The site signs a `Consent`, which holds the whole terms; the coordinator countersigns with an `Execution`, which names
that consent by digest and gives the SITEID. Each document names its own format, so that a signature over one can never
pass for another.
"""

import hashlib
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from shared.crypto.signing import VerifyKey
from shared.editions import EditionRange, ProtocolEdition
from shared.enrolment import Enrolment
from shared.errors.inputs import InvalidIdentifier
from shared.errors.trust import SignatureInvalid
from shared.frozen import Count, Frozen
from shared.ids import AgreementId, Sha256, SiteId
from shared.signed import Signed


class Mode(StrEnum):
    """Ways of taking part that an agreement may allow."""

    COHORT = "cohort"  # pooled cohort summary
    SUBMIT = "submit"  # sealed studies leave the site
    STATISTICS = "statistics"  # federated statistics
    TRAINING = "training"  # federated training


class State(StrEnum):
    """Where an agreement stands."""

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
Phrase = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
OptionalLine = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)]


_Description = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8000)]


def _is_empty(value: object) -> bool:
    return value is None or value == ()


class Scope(Frozen):
    """Exhibit A: what kind of data the agreement covers, described generally so that later data are covered too.

    What came into the format later is left out where it is empty, so that documents signed before keep their bytes.
    """

    description: _Description
    modalities: tuple[str, ...] = Field(min_length=1)
    studies: Count | None = Field(default=None, exclude_if=_is_empty)  # the most that it covers; `None`: no bound
    data_elements: tuple[Phrase, ...] = Field(default=(), max_length=50, exclude_if=_is_empty)
    locations: tuple[Phrase, ...] = Field(default=(), max_length=50, exclude_if=_is_empty)


class CuratorKeys(Frozen):
    """The one curator a site seals to: age recipient and fingerprint of the Ed25519 key.

    `statement` is the enrolment in which the curator itself, with that key, named that recipient: whoever compares the
    fingerprint with the curator has compared the recipient too. The name is only what the coordinator calls it.
    """

    name: str
    recipient: str
    fingerprint: str
    verify_key: str  # OpenSSH line of the key with that fingerprint
    statement: Signed  # an `Enrolment`

    def check(self) -> None:
        """Raise `SignatureInvalid` unless the key with `fingerprint` signed that `recipient` is its own."""
        what = "the curator's recipient"
        try:
            key = VerifyKey.parse(self.verify_key)
        except InvalidIdentifier as error:
            raise SignatureInvalid("no key", what=what) from error
        if key.fingerprint != self.fingerprint:
            raise SignatureInvalid("another key than the fingerprint names", what=what)
        if self.statement.verified(key, Enrolment, what=what).recipient != self.recipient:
            raise SignatureInvalid("the curator signed another one", what=what)


def short_digest(recipient: str) -> str:
    """The first 16 hexadecimal digits of an age recipient's SHA-256: short enough to compare by telephone."""
    return hashlib.sha256(recipient.encode()).hexdigest()[:16]


class AgreementTerms(Frozen):
    """Everything the site agrees to. A change of any part is another version and another signature."""

    format: Literal["ricord-agreement/1"] = "ricord-agreement/1"
    id: AgreementId
    version: Count
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
    ethics_reference: OptionalLine = ""
    earlier_site_ids: tuple[SiteId, ...] = ()
    expires_at: Moment | None = None
    starts_at: Moment | None = Field(default=None, exclude_if=_is_empty)
    editions: EditionRange | None = Field(default=None, exclude_if=_is_empty)  # `None`: only the one with that digest

    def covers(self, edition: ProtocolEdition) -> bool:
        """Whether studies may be made under that edition; one that is named as the one signed must have its digest."""
        if edition.digest == self.protocol_digest:
            return True
        known, name = self.editions, edition.edition
        return known is not None and edition.protocol == self.protocol and name in known and name != known.signed


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
    version: Count
    consent_sha256: Sha256
    site_id: SiteId
    executed_at: Moment
