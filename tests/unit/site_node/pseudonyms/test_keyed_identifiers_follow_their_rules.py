"""The rules of `site_node.pseudonyms`, each against its plain statement."""

import hashlib
import hmac
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors.inputs import InvalidArgument
from shared.errors.settings import KeyFileInvalid
from shared.ids import SiteId
from site_node.pseudonyms.keyed import LONGEST_SHIFT, Pseudonyms
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
    assert 1 <= pseudonyms.shift_days(plain) <= LONGEST_SHIFT
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
