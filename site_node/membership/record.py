"""A site's membership, and the files it is read from."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from shared.agreement import AgreementTerms, Consent, Execution, Mode
from shared.crypto.keys import load_signing
from shared.crypto.signing import VerifyKey
from shared.editions import ProtocolEdition
from shared.errors.inputs import InvalidIdentifier
from shared.errors.protocol import EditionNotCovered
from shared.errors.trust import NotEnrolled, SignatureInvalid
from shared.frozen import Frozen
from shared.ids import AgreementId, Sha256, SiteId
from shared.signed import Signed
from shared.token import Addresses
from site_node.home.folder import SiteHome

if TYPE_CHECKING:
    from shared.wire import Credentials


@dataclass(frozen=True)
class IdentityFiles:
    """Where a home keeps the files of its membership."""

    home: SiteHome

    @property
    def draft(self) -> Path:
        """Terms as they were read, before they are signed."""
        return self.home.identity / "draft.json"

    @property
    def text(self) -> Path:
        """The agreement's text."""
        return self.home.identity / "agreement.txt"

    @property
    def consent(self) -> Path:
        """What was signed last; it takes effect with enrolment."""
        return self.home.identity / "consent.json"

    @property
    def agreement(self) -> Path:
        """Consent and execution, both signatures; written by enrolment."""
        return self.home.identity / "agreement.json"

    def replaced(self, version: int) -> Path:
        """The agreement of a version that a later one replaced."""
        return self.home.identity / f"agreement-{version}.json"

    @property
    def membership(self) -> Path:
        """Written last by enrolment."""
        return self.home.identity / "membership.json"

    @property
    def root(self) -> Path:
        """The federation's root certificate."""
        return self.home.identity / "root.pem"

    @property
    def certificate(self) -> Path:
        """The site's certificate."""
        return self.home.identity / "certificate.pem"


class SignedAgreement(Frozen):
    """Both sides' signatures; the terms are inside the consent."""

    consent: Signed
    execution: Signed


class MembershipFile(Frozen):
    """`membership.json`: what no other file holds."""

    site_id: SiteId
    federation: str
    addresses: Addresses
    coordinator_verify_key: str


class Membership(Frozen):
    """A site as a member: who it is, under what agreement, whom it seals to and whose signatures it trusts.

    Everything but the addresses was signed by the site itself or follows from what it signed.
    """

    site_id: SiteId
    federation: str
    addresses: Addresses
    terms: AgreementTerms
    executed_at: datetime
    coordinator_verify_key: str  # OpenSSH line; its fingerprint stands in the terms
    root: Path
    certificate: Path
    key: Path
    signing_key: Path

    @property
    def agreement(self) -> AgreementId:
        """The agreement's id."""
        return self.terms.id

    @property
    def agreement_version(self) -> int:
        """The agreement's version."""
        return self.terms.version

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Ways of taking part that the agreement allows."""
        return self.terms.modes

    @property
    def federated_modes(self) -> tuple[Mode, ...]:
        """The kinds of federated work that the agreement covers."""
        return tuple(mode for mode in self.terms.modes if mode is not Mode.SUBMIT)

    @property
    def recipient(self) -> str:
        """The curator's age recipient; a site seals to no other."""
        return self.terms.curator.recipient

    @property
    def curator_fingerprint(self) -> str:
        """Of the curator's Ed25519 key."""
        return self.terms.curator.fingerprint

    @property
    def protocol_digest(self) -> Sha256:
        """The protocol the agreement names."""
        return self.terms.protocol_digest

    def check_covers(self, edition: ProtocolEdition) -> None:
        """Raise `EditionNotCovered` unless studies may be made under that edition of the protocol."""
        if not self.terms.covers(edition):
            raise EditionNotCovered(edition=edition.edition, protocol=edition.protocol)

    @property
    def coordinator_key(self) -> VerifyKey:
        """Verifies receipts, plans and countersignatures."""
        return VerifyKey.parse(self.coordinator_verify_key)

    @property
    def credentials(self) -> "Credentials":
        """For channels to the main port."""
        from shared.wire import Credentials

        return Credentials(self.root.read_bytes(), self.key, self.certificate)


def curator_keys(home: SiteHome, membership: Membership) -> tuple[VerifyKey, ...]:
    """The keys that the agreement in force, and those before it, name for the curator; the present one first.

    Raises `SignatureInvalid` where a replaced agreement is not what this site signed.
    """
    own = load_signing(home.signing_key).public
    earlier = IdentityFiles(home).replaced
    files = [earlier(version) for version in range(membership.agreement_version - 1, 0, -1)]
    agreements = [SignedAgreement.model_validate_json(file.read_bytes()) for file in files if file.exists()]
    terms = [each.consent.verified(own, Consent, what="a replaced agreement").terms for each in agreements]
    return tuple(VerifyKey.parse(each.curator.verify_key) for each in (membership.terms, *terms))


def load_membership(home: SiteHome) -> Membership:
    """The membership kept in a home, with every signature checked again.

    Raises `NotEnrolled`, and `SignatureInvalid` when a file was changed since enrolment.
    """
    files = IdentityFiles(home)
    try:
        membership_file = MembershipFile.model_validate_json(files.membership.read_bytes())
        agreement = SignedAgreement.model_validate_json(files.agreement.read_bytes())
    except FileNotFoundError as error:
        raise NotEnrolled(folder=str(home.folder)) from error
    except ValidationError as error:
        raise SignatureInvalid("a file of identity/ does not parse", what="the membership files") from error
    return membership_of(home, membership_file, agreement, load_signing(home.signing_key).public)


def membership_of(
    home: SiteHome, membership_file: MembershipFile, agreement: SignedAgreement, own_key: VerifyKey
) -> Membership:
    """Put a membership together; raises `SignatureInvalid` where anything contradicts what the site signed."""
    files = IdentityFiles(home)
    consent = agreement.consent.verified(own_key, Consent, what="the agreement")
    consent.terms.curator.check()
    coordinator = _coordinator_key(membership_file)
    if membership_file.federation != consent.terms.federation:
        raise SignatureInvalid("another federation than the terms name", what="the membership files")
    if coordinator.fingerprint != consent.terms.coordinator_fingerprint:
        raise SignatureInvalid("not the coordinator named in the terms", what="the countersignature")
    execution = agreement.execution.verified(coordinator, Execution, what="the countersignature")
    named = (execution.agreement, execution.version, execution.consent_sha256, execution.site_id)
    if named != (consent.terms.id, consent.terms.version, agreement.consent.digest, membership_file.site_id):
        raise SignatureInvalid("it countersigns something else", what="the countersignature")
    return Membership(
        site_id=membership_file.site_id,
        federation=membership_file.federation,
        addresses=membership_file.addresses,
        terms=consent.terms,
        executed_at=execution.executed_at,
        coordinator_verify_key=coordinator.text,
        root=files.root,
        certificate=files.certificate,
        key=home.tls_key,
        signing_key=home.signing_key,
    )


def _coordinator_key(membership_file: MembershipFile) -> VerifyKey:
    try:
        return VerifyKey.parse(membership_file.coordinator_verify_key)
    except InvalidIdentifier as error:
        raise SignatureInvalid("no key", what="the membership files") from error
