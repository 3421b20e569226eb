"""A token alone lets nobody in: what is signed is what was offered, and who enrols is who signed."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from coordinator.agreements.lookup import agreement_of
from shared.agreement import AgreementTerms, Mode, State
from shared.crypto.pki import Role, make_csr, serial_of
from shared.crypto.recipients import generate_identity
from shared.crypto.signing import SigningKey
from shared.enrolment import Enrolment, KeyRotation
from shared.errors.agreements import AgreementNotExecuted, AgreementTextChanged
from shared.errors.base import RicordError
from shared.errors.inputs import InvalidArgument, InvalidIdentifier, NotFound
from shared.errors.trust import SignatureInvalid
from shared.ids import AgreementId, Sha256
from shared.signed import Signed
from tests.factories.parties import ACTOR, CSR, NAMES, Coordinator, consent, draft, enrolment, founded


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coordinator]:
    with founded(tmp_path_factory.mktemp("enrolling")) as parties:
        yield parties


@pytest.mark.parametrize("changed", sorted({*AgreementTerms.model_fields} - {"format"}))
def test_terms_that_differ_in_one_field_are_not_the_ones_offered(coordinator: Coordinator, changed: str) -> None:
    """A hospital's signature under them is refused, whichever field it is; the offer can still be signed."""
    name, secret, terms = coordinator.offered()
    key = SigningKey.generate()
    other = {
        "id": AgreementId.random(),
        "text_sha256": "0" * 64,
        "protocol_digest": "0" * 64,
        "version": terms.version + 1,
        "scope": terms.scope.model_copy(update={"studies": 7}),
        "modes": (Mode.TRAINING,),
        "curator": terms.curator.model_copy(update={"recipient": generate_identity().recipient}),
        "earlier_site_ids": ("345678",),
        "expires_at": coordinator.time() + timedelta(days=9),
        "starts_at": coordinator.time(),
        "editions": None,
    }.get(changed, f"{getattr(terms, changed)}x")
    signed = consent(key, terms.model_copy(update={changed: other}))
    with pytest.raises(AgreementTextChanged):
        coordinator.enrolment.sign_agreement(secret, signed, key.public.text)
    with coordinator.store.read() as reading:
        assert agreement_of(reading, name).consent is None
        site = reading.site(name)
        assert site is not None
        assert site.verify_key is None
    assert coordinator.enrolment.sign_agreement(secret, consent(key, terms), key.public.text).state is State.SIGNED


def test_a_consent_is_of_the_key_that_signs_it(coordinator: Coordinator) -> None:
    """One that names another key, or that another key signed, is refused."""
    _, secret, terms = coordinator.offered()
    key, other = SigningKey.generate(), SigningKey.generate()
    for signed, shown in (
        (consent(key, terms, fingerprint=other.fingerprint), key),
        (consent(other, terms), key),
        (consent(key, terms), other),
    ):
        with pytest.raises(SignatureInvalid):
            coordinator.enrolment.sign_agreement(secret, signed, shown.public.text)


def test_a_next_version_is_signed_by_the_key_of_the_first(coordinator: Coordinator) -> None:
    """An invitation that reinstates an agreement gives a hospital's place to no other key."""
    name, key, _ = coordinator.executed()
    coordinator.agreements.terminate(name, actor=ACTOR)
    _, issued = coordinator.agreements.amend(draft(name), reinstate=True, actor=ACTOR)
    assert issued is not None
    secret, other = issued.token.secret, SigningKey.generate()
    terms, _ = coordinator.enrolment.read_agreement(secret)
    with pytest.raises(SignatureInvalid):
        coordinator.enrolment.sign_agreement(secret, consent(other, terms), other.public.text)
    signed = coordinator.enrolment.sign_agreement(secret, consent(key, terms), key.public.text)
    assert signed.amendment is not None
    assert signed.amendment.consent is not None


def test_a_join_token_enrols_the_key_that_signed_the_agreement(coordinator: Coordinator) -> None:
    """Whoever finds the token gains nothing by it, and it stays good for the hospital."""
    name, key, secret = coordinator.executed()
    other = SigningKey.generate()
    with pytest.raises(SignatureInvalid):
        coordinator.enrolment.enrol(secret, CSR, enrolment(other, secret), other.public.text)
    enrolled = coordinator.enrolment.enrol(secret, CSR, enrolment(key, secret), key.public.text)
    site = coordinator.members.site(name).site
    assert (enrolled.role, enrolled.name, enrolled.site_id) == (Role.SITE, site.site_id, site.site_id)
    assert site.enrolled_at is not None
    assert enrolled.agreement is not None
    with coordinator.store.read() as reading:
        assert [row.serial for row in reading.certificates(Role.SITE, enrolled.name)] == [
            serial_of(enrolled.certificate)
        ]
        last = list(reading.events())[-1]
        assert (last.action, last.object) == ("enrolled", serial_of(enrolled.certificate))


def test_nobody_enrols_under_an_agreement_that_is_not_in_force(coordinator: Coordinator) -> None:
    """Also with a token from before its suspension, which is good again once that ends."""
    name, key, secret = coordinator.executed()
    coordinator.agreements.suspend(name, actor=ACTOR)
    with pytest.raises(AgreementNotExecuted):
        coordinator.enrolment.enrol(secret, CSR, enrolment(key, secret), key.public.text)
    coordinator.agreements.execute(name, actor=ACTOR)
    assert coordinator.enrolment.enrol(secret, CSR, enrolment(key, secret), key.public.text).role is Role.SITE


def test_an_enrolment_is_of_its_request_and_its_token(coordinator: Coordinator) -> None:
    """One signed for another certificate request, for another token or for a renewal is refused."""
    _, key, secret = coordinator.executed()
    for signed in (
        enrolment(key, secret, csr=make_csr(ec.generate_private_key(ec.SECP256R1()))),
        enrolment(key, "another secret"),
        enrolment(key, None),
    ):
        with pytest.raises(SignatureInvalid):
            coordinator.enrolment.enrol(secret, CSR, signed, key.public.text)
    enrolled = coordinator.enrolment.enrol(secret, CSR, enrolment(key, secret), key.public.text)
    serial = serial_of(enrolled.certificate)
    for signed in (enrolment(key, secret), enrolment(SigningKey.generate(), None)):
        with pytest.raises(SignatureInvalid):
            coordinator.enrolment.renew(Role.SITE, enrolled.name, CSR, signed, serial=serial)


def test_a_person_enrols_again_with_the_same_keys_only(coordinator: Coordinator) -> None:
    """Hospitals pinned them; another key or another recipient is refused, the same are not."""
    key, recipient = SigningKey.generate(), generate_identity().recipient
    coordinator.join(Role.CURATOR, "cora", key, recipient)
    with pytest.raises(SignatureInvalid):
        coordinator.join(Role.CURATOR, "cora", SigningKey.generate(), recipient)
    with pytest.raises(SignatureInvalid):
        coordinator.join(Role.CURATOR, "cora", key, generate_identity().recipient)
    assert coordinator.join(Role.CURATOR, "cora", key, recipient).name == "cora"


def test_curators_and_nobody_else_have_a_recipient(coordinator: Coordinator) -> None:
    """Of an age identity; a hospital could seal to nothing else."""
    key = SigningKey.generate()
    for role, recipient in (
        (Role.CURATOR, None),
        (Role.RESEARCHER, generate_identity().recipient),
        (Role.CURATOR, "age1nobody"),
    ):
        with pytest.raises((InvalidArgument, InvalidIdentifier)):
            coordinator.join(role, "newcomer", key, recipient)
    assert coordinator.join(Role.RESEARCHER, "newcomer", key, None).agreement is None
    with coordinator.store.read() as reading:
        member = reading.member(Role.RESEARCHER, "newcomer")
    assert member is not None
    assert member.statement is None


def rotation(former: SigningKey, following: SigningKey, name: str, recipient: str, *, named: str = "") -> list[Signed]:
    """What a curator signs to change its keys: by the former one, and by the next one."""
    document = KeyRotation(name=name, verify_key=following.public.text, recipient=named or recipient)
    statement = Enrolment(csr_sha256=Sha256("0" * 64), token_sha256=None, recipient=recipient)
    return [Signed.by(former, document), Signed.by(following, statement)]


def test_keys_are_rotated_by_the_keys_before(coordinator: Coordinator) -> None:
    """Once each: never by another key, for another name, to another recipient than stated, to a former key."""
    keys = [SigningKey.generate() for _ in range(3)]
    recipients = [generate_identity().recipient for _ in range(3)]
    coordinator.join(Role.CURATOR, "chris", keys[0], recipients[0])
    rotate = coordinator.enrolment.rotate
    wrong = (
        rotation(keys[2], keys[1], "chris", recipients[1]),
        rotation(keys[0], keys[1], "carla", recipients[1]),
        rotation(keys[0], keys[1], "chris", recipients[1], named=recipients[2]),
        rotation(keys[0], keys[0], "chris", recipients[1]),
        rotation(keys[0], keys[1], "chris", "age1nobody"),
        [rotation(keys[0], keys[1], "chris", recipients[1])[0], rotation(keys[0], keys[2], "chris", recipients[1])[1]],
    )
    for pair in wrong:
        with pytest.raises((SignatureInvalid, InvalidIdentifier)):
            rotate("chris", *pair)
    for name in ("nobody", "newcomer"):
        with pytest.raises(NotFound):
            rotate(name, *rotation(keys[0], keys[1], name, recipients[1]))
    first = rotation(keys[0], keys[1], "chris", recipients[1])
    rotate("chris", *first)
    rotate("chris", *first)  # one that was cut short
    for pair in (
        rotation(keys[0], keys[2], "chris", recipients[2]),
        rotation(keys[1], keys[0], "chris", recipients[2]),
    ):
        with pytest.raises(SignatureInvalid):
            rotate("chris", *pair)
    rotate("chris", *rotation(keys[1], keys[2], "chris", recipients[2]))
    with coordinator.store.read() as reading:
        member = reading.member(Role.CURATOR, "chris")
        rows = reading.rotations("chris")
        events = [event for event in reading.events() if event.action == "keys rotated"]
    assert member is not None
    assert (member.verify_key, member.recipient) == (keys[2].public.text, recipients[2])
    assert [(row.verify_key, row.recipient) for row in rows] == [
        (key.public.text, recipient) for key, recipient in zip(keys[:2], recipients[:2], strict=True)
    ]
    assert [event.object for event in events] == [key.fingerprint for key in keys[1:]]


def test_nothing_is_read_without_an_offer(coordinator: Coordinator) -> None:
    """An enrolled hospital without a next version, and an invited one without a draft, read no terms."""
    _, key, secret = coordinator.executed()
    enrolled = coordinator.enrolment.enrol(secret, CSR, enrolment(key, secret), key.public.text)
    assert enrolled.site_id is not None
    with pytest.raises(RicordError, match="agreement"):
        coordinator.enrolment.read_amendment(enrolled.site_id)
    _, (token, _) = coordinator.members.invite(next(NAMES), actor=ACTOR)
    with pytest.raises(RicordError, match="agreement"):
        coordinator.enrolment.read_agreement(token.secret)
