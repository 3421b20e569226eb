"""What a newcomer does with a token: read, sign, enrol; and what a member does to stay: renew."""

import hashlib
from datetime import timedelta

from coordinator.agreements.lifecycle import Act, as_of, check_permitted, in_force, to_sign, transition
from coordinator.agreements.lookup import agreement_of, site_of
from coordinator.agreements.text import agreement_text
from coordinator.home.identity import Clock, Identity, utc_now
from coordinator.store.interface import Reading, Store, Work
from coordinator.store.records import Agreement, Certificate, Member, Rotation, Site, TokenRow
from coordinator.trust import tokens
from coordinator.trust.certificates import check_certificate_row
from shared.agreement import AgreementTerms, Consent, State
from shared.crypto import pki
from shared.crypto.pki import Role
from shared.crypto.recipients import parse_recipient
from shared.crypto.signing import VerifyKey
from shared.enrolment import Enrolment, KeyRotation
from shared.errors.agreements import AgreementTextChanged
from shared.errors.inputs import InvalidArgument, NotFound
from shared.errors.trust import SignatureInvalid
from shared.frozen import Frozen
from shared.ids import Sha256, SiteId
from shared.signed import Signed
from shared.token import TokenKind

_CERTIFICATES_A_DAY = 5  # of one member; one that lives for a day is renewed after 16 hours


class NewMember(Frozen):
    """What a newcomer receives: its name, its certificate and, for a site, the agreement in force."""

    role: Role
    name: str
    certificate: bytes
    agreement: Agreement | None = None
    site_id: SiteId | None = None


class EnrolmentService:
    """Newcomers and renewals; each method is one transaction with its audit event."""

    def __init__(self, store: Store, identity: Identity, clock: Clock = utc_now) -> None:
        self._store = store
        self._identity = identity
        self._now = clock

    def read_agreement(self, secret: str) -> tuple[AgreementTerms, str]:
        """Terms and text for the bearer of an invitation token.

        Raises `TokenInvalid`, `TokenUsed`, `TokenExpired`; `AgreementNotExecuted` while there is nothing to sign.
        """
        with self._store.read() as reading:
            row = tokens.check(reading, secret, kind=TokenKind.INVITATION, now=self._now())
            return to_sign(agreement_of(reading, row.subject), self._now()), agreement_text()

    def read_amendment(self, site_id: SiteId) -> tuple[AgreementTerms, str]:
        """Terms and text for an enrolled site; raises `AgreementNotExecuted` while there is nothing to sign."""
        with self._store.read() as reading:
            return to_sign(agreement_of(reading, site_id), self._now()), agreement_text()

    def sign_agreement(self, secret: str, signed: Signed, verify_key: str) -> Agreement:
        """Record the site's consent and register its key; uses up the invitation token.

        Raises what `read_agreement` raises, `SignatureInvalid`, and `AgreementTextChanged` when the signed terms are
        not the ones offered.
        """
        key = VerifyKey.parse(verify_key)
        with self._store.begin() as work:
            row = tokens.use(work, secret, kind=TokenKind.INVITATION, now=self._now())
            site = site_of(work, row.subject)
            work.put_site(site.model_copy(update={"verify_key": key.text}))
            return self._sign(work, site, key, signed)

    def sign_amendment(self, site_id: SiteId, signed: Signed) -> Agreement:
        """Record an enrolled site's consent to the next version, signed with the key that it registered.

        Raises `AgreementNotExecuted`, `SignatureInvalid`, `AgreementTextChanged`.
        """
        with self._store.begin() as work:
            key = VerifyKey.parse(registered_key(work, Role.SITE, site_id))
            return self._sign(work, site_of(work, site_id), key, signed)

    def _sign(self, work: Work, site: Site, key: VerifyKey, signed: Signed) -> Agreement:
        """`site` is as it was before: one whose agreement was in force keeps the key that curators know."""
        consent, now = signed.verified(key, Consent, what="the agreement"), self._now()
        agreement = agreement_of(work, site.name)
        if consent.terms != to_sign(agreement, now):
            raise AgreementTextChanged
        if consent.fingerprint != key.fingerprint:
            raise SignatureInvalid("the consent names another key", what="the agreement")
        if agreement.amendment is None:
            agreement = transition(agreement, State.SIGNED, now, consent=signed)
        elif site.verify_key != key.text:
            raise SignatureInvalid("not the key that signed the version before", what="the agreement")
        else:
            amendment = agreement.amendment.model_copy(update={"consent": signed})
            agreement = agreement.model_copy(update={"amendment": amendment, "changed_at": now})
        work.put_agreement(agreement)
        work.append_event(at=now, actor=f"site {site.name}", action="agreement signed", about=agreement.id)
        return agreement

    def enrol(self, secret: str, csr: bytes, signed: Signed, verify_key: str) -> NewMember:
        """Exchange a join token and a certificate request for a certificate.

        The request's digest and the token's are signed by the newcomer's Ed25519 key: a site's is the one that signed
        its agreement, a curator's or researcher's is registered now. Raises `TokenInvalid`, `TokenUsed`,
        `TokenExpired`, `SignatureInvalid`, `AgreementNotExecuted`, `InvalidArgument`.
        """
        key = VerifyKey.parse(verify_key)
        with self._store.begin() as work:
            row = tokens.use(work, secret, kind=TokenKind.JOIN, now=self._now())
            enrolment = _checked(signed, key, csr, token=row.digest)
            if row.role == Role.SITE:
                enrolled = self._enrol_site(work, row, csr, key)
            else:
                enrolled = self._enrol_person(work, row, csr, key, signed=signed, recipient=enrolment.recipient)
            uri = self._identity.uri(enrolled.role, enrolled.name)
            work.append_event(at=self._now(), actor=uri, action="enrolled", about=pki.serial_of(enrolled.certificate))
            return enrolled

    def renew(self, role: Role, name: str, csr: bytes, signed: Signed, *, serial: str) -> bytes:
        """A new certificate (PEM) for the member that presents the one with `serial`.

        The presented one is checked in this transaction, so that a renewal cannot outrun a revocation. Raises
        `NotFound`, `SignatureInvalid`, `AgreementNotExecuted`, `CertificateForeign`, `CertificateExpired`, and
        `InvalidArgument`, also for more renewals in a day than a member needs.
        """
        with self._store.begin() as work:
            check_certificate_row(work, serial, role=role, name=name, now=self._now())
            if role is Role.SITE:
                check_permitted(agreement_of(work, name), Act.RENEW, self._now())
            self._check_pace(work, role, name)
            key = VerifyKey.parse(registered_key(work, role, name))
            _checked(signed, key, csr, token=None)
            certificate = self._issued(work, role, name, csr)
            work.append_event(
                at=self._now(),
                actor=self._identity.uri(role, name),
                action="certificate renewed",
                about=pki.serial_of(certificate),
            )
            return certificate

    def rotate(self, name: str, signed: Signed, statement: Signed) -> None:
        """Register a curator's next keys; agreements that are drafted from now on name them.

        The present key signs `signed`, a `KeyRotation`, and the next one `statement`, the enrolment that names the next
        recipient. The same rotation again changes nothing, so that one that was cut short can be repeated. Raises
        `NotFound`, `SignatureInvalid`, `InvalidIdentifier`.
        """
        with self._store.begin() as work:
            member = work.member(Role.CURATOR, name)
            if member is None or member.recipient is None:
                raise NotFound(kind="enrolled curator", name=name)
            rotations = work.rotations(name)
            if rotations and rotations[-1].signed == signed:
                return
            rotation = signed.verified(VerifyKey.parse(member.verify_key), KeyRotation, what="the key rotation")
            following = VerifyKey.parse(rotation.verify_key)
            stated = statement.verified(following, Enrolment, what="the curator's recipient").recipient
            former = {member.verify_key, *(row.verify_key for row in rotations)}
            if (rotation.name, stated) != (name, rotation.recipient) or following.text in former:
                raise SignatureInvalid("other keys than are stated, or former ones", what="the key rotation")
            parse_recipient(rotation.recipient)
            work.add_rotation(
                Rotation(
                    name=name,
                    verify_key=member.verify_key,
                    recipient=member.recipient,
                    signed=signed,
                    rotated_at=self._now(),
                )
            )
            keys = {"verify_key": following.text, "recipient": rotation.recipient, "statement": statement}
            work.put_member(member.model_copy(update=keys))
            uri = self._identity.uri(Role.CURATOR, name)
            work.append_event(at=self._now(), actor=uri, action="keys rotated", about=following.fingerprint)

    def membership(self, role: Role, name: str) -> Agreement | None:
        """The agreement of a site as it stands now; `None` for a person."""
        with self._store.read() as reading:
            return as_of(agreement_of(reading, name), self._now()) if role is Role.SITE else None

    def _enrol_site(self, work: Work, row: TokenRow, csr: bytes, key: VerifyKey) -> NewMember:
        site = site_of(work, row.subject)
        agreement = agreement_of(work, row.subject)
        in_force(agreement, self._now())
        if site.site_id is None or site.verify_key != key.text:
            raise SignatureInvalid("not the key that signed the agreement", what="the enrolment")
        certificate = self._issued(work, Role.SITE, site.site_id, csr)
        work.put_site(site.model_copy(update={"enrolled_at": self._now()}))
        return NewMember(
            role=Role.SITE, name=site.site_id, certificate=certificate, agreement=agreement, site_id=site.site_id
        )

    def _enrol_person(
        self, work: Work, row: TokenRow, csr: bytes, key: VerifyKey, *, signed: Signed, recipient: str | None
    ) -> NewMember:
        role, now = Role(row.role), self._now()
        member = work.member(role, row.subject)
        if member is not None and (member.verify_key, member.recipient) != (key.text, recipient):
            # Sites pinned the registered keys in their agreements; other keys would make the pins worthless.
            raise SignatureInvalid(f"{role} {row.subject} enrolled with other keys before", what="the enrolment")
        if (role is Role.CURATOR) != (recipient is not None):
            raise InvalidArgument(name="The age recipient", problem="curators register one, and nobody else does")
        if recipient is not None:
            parse_recipient(recipient)  # refuses one that no site could seal to
        member = Member(
            role=role,
            name=row.subject,
            verify_key=key.text,
            recipient=recipient,
            statement=signed if recipient else None,
            enrolled_at=now,
        )
        work.put_member(member)
        return NewMember(role=role, name=row.subject, certificate=self._issued(work, role, row.subject, csr))

    def _check_pace(self, reading: Reading, role: Role, name: str) -> None:
        """A certificate of the last day ends within a day of the end of one that is issued now."""
        since = self._now() + timedelta(days=self._identity.certificate_days - 1)
        if sum(row.ends_at > since for row in reading.certificates(role, name)) >= _CERTIFICATES_A_DAY:
            problem = f"{_CERTIFICATES_A_DAY} certificates were issued to {role}/{name} within a day; the last is good"
            raise InvalidArgument(name="The renewal", problem=problem)

    def _issued(self, work: Work, role: Role, name: str, csr: bytes) -> bytes:
        days = self._identity.certificate_days
        certificate = pki.issue(self._identity.authority, csr, self._identity.uri(role, name), days=days)
        work.add_certificate(
            Certificate(serial=pki.serial_of(certificate), role=role, name=name, ends_at=pki.expires_at(certificate))
        )
        return certificate


def registered_key(reading: Reading, role: Role, name: str) -> str:
    """The Ed25519 key (OpenSSH line) a member registered; raises `NotFound`."""
    owner: Site | Member | None = reading.site(name) if role is Role.SITE else reading.member(role, name)
    if owner is None or owner.verify_key is None:
        raise NotFound(kind=f"enrolled {role}", name=name)
    return owner.verify_key


def _checked(signed: Signed, key: VerifyKey, csr: bytes, *, token: Sha256 | None) -> Enrolment:
    enrolment = signed.verified(key, Enrolment, what="the enrolment")
    if enrolment.csr_sha256 != hashlib.sha256(csr).hexdigest() or enrolment.token_sha256 != token:
        raise SignatureInvalid("signed for another request or token", what="the enrolment")
    return enrolment
