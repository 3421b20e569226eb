"""The rules of `site_node.pseudonyms`, each against its plain statement."""

import hashlib
import hmac
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.errors.inputs import InvalidArgument, LinkageInvalid
from shared.errors.settings import KeyFileInvalid
from shared.ids import SiteId
from site_node.pseudonyms import keyed
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.pseudonyms.sealed_link import EarlierContribution, Link, LinkSeal, Seal
from site_node.study import Identity

SECRET = bytes(range(32))
SITE = SiteId("654321")
texts = st.text(min_size=1, max_size=64).filter(lambda text: bool(text.strip(" \0")))


class _Counter:
    """A ledger's counter in memory."""

    def __init__(self) -> None:
        self.seen: dict[bytes, int] = {}
        self.links: dict[bytes, bytes] = {}

    def number(self, token: bytes, seal: Callable[[], bytes] | None = None) -> int:
        if seal is not None and token not in self.links:
            self.links[token] = seal()
        return self.seen.setdefault(token, len(self.seen) + 1)

    def link(self, token: bytes) -> bytes | None:
        return self.links.get(token)


def _hkdf(label: str) -> bytes:
    """RFC 5869 by hand: one block is enough for 32 bytes."""
    extracted = hmac.digest(bytes(32), SECRET, hashlib.sha256)
    return hmac.digest(extracted, b"ricord-federation/pseudonyms/1/" + label.encode() + b"\x01", hashlib.sha256)


def test_a_uid_is_prefix_and_hmac_modulo_what_is_left() -> None:
    """The UID rule, computed a second way."""
    expected = int.from_bytes(hmac.digest(_hkdf("uid"), b"1.2.3", hashlib.sha256), "big") % 10**30
    assert Pseudonyms(SECRET, SITE).uid("1.2.3") == f"1.2.826.0.1.3680043.10.474.654321.{expected}"


@given(original=texts)
def test_a_uid_is_valid_and_ignores_padding(original: str) -> None:
    """Every text gives a valid UID of at most 64 characters; padding is no part of it."""
    pseudonyms = Pseudonyms(SECRET, SITE)
    assert len(pseudonyms.uid(original)) <= 64
    assert pseudonyms.uid(original.strip(" \0") + "\0") == pseudonyms.uid(original)


def test_a_root_that_leaves_too_few_digits_is_refused() -> None:
    """A root that leaves under 28 digits is refused."""
    Pseudonyms(SECRET, SITE, uid_root="1." + "2" * 26)
    with pytest.raises(InvalidArgument):
        Pseudonyms(SECRET, SITE, uid_root="1." + "2" * 27)


@pytest.mark.parametrize("secret", [b"", b"x" * 31, b"x" * 33])
def test_a_secret_of_another_length_is_refused(secret: bytes) -> None:
    """The secret is exactly 32 bytes."""
    with pytest.raises(KeyFileInvalid):
        Pseudonyms(secret, SITE)


@given(issuer=st.text(max_size=16), patient=texts)
def test_shift_is_in_range_and_one_per_patient(issuer: str, patient: str) -> None:
    r"""1..3652 days, and `" P7"`, `"P7 "` and `"P7\0"` are one patient."""
    pseudonyms = Pseudonyms(SECRET, SITE)
    plain = Identity(issuer=issuer, patient_id=patient)
    padded_identity = Identity(issuer=issuer + " ", patient_id=" " + patient + "\0")
    assert 1 <= pseudonyms.shift_days(plain) <= 3652
    assert pseudonyms.shift_days(plain) == pseudonyms.shift_days(padded_identity)
    assert pseudonyms.patient(plain) == pseudonyms.patient(padded_identity)


def test_issuer_and_number_do_not_run_together() -> None:
    """(`A`, `BC`) and (`AB`, `C`) are two patients."""
    pseudonyms = Pseudonyms(SECRET, SITE)
    assert pseudonyms.token(Identity(issuer="A", patient_id="BC")) != pseudonyms.token(
        Identity(issuer="AB", patient_id="C")
    )


def test_the_ledger_numbers_patients_and_sees_no_id() -> None:
    """With a counter numbers run from 1 in six digits; it is asked by 32 bytes of HMAC."""
    counter = _Counter()
    pseudonyms = Pseudonyms(SECRET, SITE, counter)
    assert [pseudonyms.patient(Identity(issuer="", patient_id=name)) for name in ("b", "a", "b")] == [
        "654321-000001",
        "654321-000002",
        "654321-000001",
    ]
    assert all(len(token) == 32 for token in counter.seen)


def test_without_a_ledger_a_number_has_fifteen_digits() -> None:
    """15 digits of HMAC."""
    assert len(Pseudonyms(SECRET, SITE).patient(Identity(issuer="", patient_id="1"))) == 6 + 1 + 15


@given(value=texts)
def test_accession_fits_sh(value: str) -> None:
    """An accession number is 16 characters; empty stays empty."""
    assert len(Pseudonyms(SECRET, SITE).accession(value)) == 16
    assert Pseudonyms(SECRET, SITE).accession(" ") == ""


def test_another_secret_gives_another_world() -> None:
    """Nothing is shared between two secrets."""
    mine, other = Pseudonyms(SECRET, SITE), Pseudonyms(bytes(32), SITE)
    identity = Identity(issuer="", patient_id="1")
    assert mine.uid("1.2") != other.uid("1.2")
    assert mine.patient(identity) != other.patient(identity)
    assert mine.study_key("1.2") != other.study_key("1.2")
    assert mine.accession("1") != other.accession("1")


def _mac(label: str, message: bytes) -> int:
    return int.from_bytes(hmac.digest(_hkdf(label), message, hashlib.sha256), "big")


@given(issuer=st.text(max_size=16), patient=texts)
def test_each_name_is_its_own_keyed_hash(issuer: str, patient: str) -> None:
    """Shift, number, accession, study key and tokens, computed a second way: so a new release renames nobody."""
    names = Pseudonyms(SECRET, SITE)
    identity = Identity(issuer=issuer, patient_id=patient)
    padded = issuer.strip(" \0").encode()
    message = len(padded).to_bytes(4, "big") + padded + patient.strip(" \0").encode()
    assert names.shift_days(identity) == _mac("date", message) % 3652 + 1
    assert names.patient(identity) == f"654321-{_mac('patient', message) % 10**15:015d}"
    text = patient.strip(" \0").encode()
    assert names.accession(patient) == f"{_mac('accession', text) % 10**16:016d}"
    assert names.study_key(patient) == f"{_mac('study', text):064x}"[:32]
    assert names.token(identity).hex() == f"{_mac('ledger', message):064x}"
    assert names.word_token(patient).hex() == f"{_mac('word', patient.encode()):064x}"[:32]
    bearer = names.bearer_token(b"word", identity).hex()
    assert bearer == f"{_mac('word', b'word' + names.token(identity)):064x}"[:32]


def test_a_word_of_broken_letters_has_a_token() -> None:
    """A lone surrogate, as a wrong character set leaves it."""
    assert len(Pseudonyms(SECRET, SITE).word_token("\ud800")) == 16


def test_remembered_uids_stay_few_and_forgotten_ones_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded however many UIDs a node meets."""
    monkeypatch.setattr(keyed, "_MOST_REMEMBERED", 3)
    names, fresh = Pseudonyms(SECRET, SITE), Pseudonyms(SECRET, SITE)
    for number, remembered in zip([*range(6), *range(6)], [1, 2, 3] * 4, strict=True):
        assert names.uid(f"1.2.{number}") == fresh.uid(f"1.2.{number}")
        assert len(names._uids) == remembered


def test_the_shift_of_an_earlier_contribution_is_kept() -> None:
    """Forward or back; where only its pseudonym is known, the patient's own shift holds."""
    counter = _Counter()
    names, identity = Pseudonyms(SECRET, SITE, counter), Identity(issuer="", patient_id="7")
    own = names.shift_days(identity)
    names.patient(identity)
    assert names.shift_days(identity) == own
    token = names.token(identity)
    for stated, expected in ((-3652, -3652), (12, 12), (None, own)):
        earlier = EarlierContribution(pseudonym="419639-000003", shift_days=stated)
        counter.links[token] = names.links.seal(token, Link(issuer="", patient_id="7", earlier=earlier))
        assert names.shift_days(identity) == expected


@given(text=st.text(), token=st.binary(min_size=32, max_size=32), at=st.integers(0))
def test_a_changed_row_opens_as_nothing(text: str, token: bytes, at: int) -> None:
    """A text is sealed under a nonce of 12 bytes with a tag of 16; whichever byte changes, it is refused."""
    seal = Seal(SECRET)
    sealed = seal.seal(token, text)
    assert len(sealed) == 12 + len(text.encode()) + 16
    assert seal.open(token, sealed) == text
    changed = bytearray(sealed)
    changed[at % len(sealed)] ^= 1
    for row, data in ((token, bytes(changed)), (token[::-1] + b"x", sealed), (token, sealed[:20]), (token, b"")):
        with pytest.raises(LinkageInvalid):
            seal.open(row, data)
    with pytest.raises(LinkageInvalid):
        Seal(SECRET[::-1]).open(token, sealed)


@pytest.mark.parametrize("text", ["", "{}", "a word", '{"issuer": "", "patient_id": ""}'])
def test_a_row_that_is_no_link_is_refused(text: str) -> None:
    """Also one that this secret sealed."""
    with pytest.raises(LinkageInvalid):
        LinkSeal(SECRET).open(b"token", Seal(SECRET).seal(b"token", text))


def test_a_link_shows_nothing_and_an_earlier_one_is_bounded() -> None:
    """No identifier and no pseudonym is shown; at most 64 characters, at most ten years."""
    earlier = EarlierContribution(pseudonym="quagga" + "x" * 58, shift_days=3652)
    assert EarlierContribution(pseudonym="x", shift_days=-3652).shift_days == -3652
    shown = repr(Link(issuer="okapi", patient_id="bongo", earlier=earlier))
    assert not any(word in shown for word in ("quagga", "okapi", "bongo"))
    for pseudonym, shift in (("", 1), ("x" * 65, 1), ("x", 3653), ("x", -3653)):
        with pytest.raises(ValidationError):
            EarlierContribution(pseudonym=pseudonym, shift_days=shift)
