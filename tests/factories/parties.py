"""A coordinator's services over one store, and those who sign what it offers: nothing crosses a wire."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from coordinator.agreements.drafting import CheckedScope, Draft
from coordinator.agreements.service import AgreementService
from coordinator.enrolment.members import MemberService
from coordinator.enrolment.service import EnrolmentService, NewMember
from coordinator.home.identity import Identity
from coordinator.home.init import create_federation, open_home_store
from coordinator.home.settings import Home
from coordinator.store.sql import SqlStore
from shared.agreement import AgreementTerms, Consent, Mode
from shared.crypto.pki import Role, make_csr
from shared.crypto.recipients import generate_identity
from shared.crypto.signing import SigningKey
from shared.enrolment import Enrolment
from shared.ids import Sha256
from shared.signed import Signed
from shared.token import secret_digest
from tests.factories.federation import Time, make_settings, settings_text

ACTOR = "spiffe://test-federation/coordinator/operator"
NAMES = (f"Hospital {number}" for number in count(1))
CSR = make_csr(ec.generate_private_key(ec.SECP256R1()))


@dataclass
class Coordinator:
    """The services of one coordinator over one store."""

    store: SqlStore
    identity: Identity
    time: Time = field(default_factory=Time)

    @property
    def members(self) -> MemberService:
        """Sites and people."""
        return MemberService(self.store, self.identity, self.time)

    @property
    def agreements(self) -> AgreementService:
        """From the draft to the end."""
        return AgreementService(self.store, self.identity, self.time)

    @property
    def enrolment(self) -> EnrolmentService:
        """Newcomers and renewals."""
        return EnrolmentService(self.store, self.identity, self.time)

    def offered(self, **changes: Any) -> tuple[str, str, AgreementTerms]:
        """A new hospital's name, its invitation's secret and the terms that it may sign."""
        name = next(NAMES)
        _, (token, _) = self.members.invite(name, actor=ACTOR)
        self.agreements.draft(draft(name, **changes), actor=ACTOR)
        return name, token.secret, self.enrolment.read_agreement(token.secret)[0]

    def executed(self) -> tuple[str, SigningKey, str]:
        """A hospital whose agreement is in force: its name, its key and the secret of its join token."""
        name, secret, terms = self.offered()
        key = SigningKey.generate()
        self.enrolment.sign_agreement(secret, consent(key, terms), key.public.text)
        _, issued = self.agreements.execute(name, actor=ACTOR)
        assert issued is not None
        return name, key, issued.token.secret

    def join(self, role: Role, name: str, key: SigningKey, recipient: str | None) -> NewMember:
        """Enrol a person with a new token."""
        secret = self.members.join_token(role, name, actor=ACTOR).token.secret
        return self.enrolment.enrol(secret, CSR, enrolment(key, secret, recipient=recipient), key.public.text)


def draft(name: str, **changes: Any) -> Draft:
    """What a coordinator fills in for a site."""
    scope = CheckedScope(description="Chest imaging", modalities=("CT",))
    fields = {"reference": name, "curator": "carla", "modes": (Mode.SUBMIT,), "scope": scope, "licence": "CC BY 4.0"}
    return Draft(**{**fields, **changes})


def consent(key: SigningKey, terms: AgreementTerms, **changes: Any) -> Signed:
    """A site's signature under terms."""
    fields = {"signatory": "A. Signatory", "fingerprint": key.fingerprint, "signed_at": datetime.now(UTC)}
    return Signed.by(key, Consent(terms=terms, **{**fields, **changes}))


def enrolment(key: SigningKey, secret: str | None, *, csr: bytes = CSR, recipient: str | None = None) -> Signed:
    """A certificate request bound to a key, and to a token unless it renews."""
    digest = Sha256(hashlib.sha256(csr).hexdigest())
    token = None if secret is None else secret_digest(secret)
    return Signed.by(key, Enrolment(csr_sha256=digest, token_sha256=token, recipient=recipient))


@contextmanager
def founded(folder: Path) -> Iterator[Coordinator]:
    """A new coordinator with the curator `carla`."""
    settings, home = make_settings(), Home(folder / "coordinator")
    identity = create_federation(home, settings, settings_text(settings))
    store = open_home_store(home, settings)
    coordinator = Coordinator(store, identity)
    coordinator.join(Role.CURATOR, "carla", SigningKey.generate(), generate_identity().recipient)
    yield coordinator
    store.close()
