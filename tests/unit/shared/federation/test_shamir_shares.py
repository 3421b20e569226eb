"""Laws of the secret sharing."""

import secrets
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.federation.secure_sum.shamir import PRIME, SHARE_BYTES, combine, split

SECRET = st.binary(min_size=32, max_size=32)


@given(SECRET, st.integers(1, 8), st.data())
@settings(max_examples=40, deadline=None)
def test_any_threshold_of_shares_gives_the_secret(secret: bytes, holders: int, data: st.DataObject) -> None:
    """Whatever the secret, the threshold and the chosen holders, the shares give the secret back."""
    threshold = data.draw(st.integers(1, holders))
    shares = split(secret, threshold, range(1, holders + 1))
    chosen = data.draw(st.permutations(sorted(shares)))[:threshold]
    assert combine({place: shares[place] for place in chosen}) == secret
    assert {len(share) for share in shares.values()} == {SHARE_BYTES}


def test_a_share_is_as_long_as_the_field_needs() -> None:
    """Not a byte more: a message carries a share for every pair of sites."""
    assert 0 < (PRIME - 1) >> 8 * (SHARE_BYTES - 1) < 256


@given(SECRET, st.integers(2, 8), st.data())
@settings(max_examples=40, deadline=None)
def test_one_share_fewer_gives_another_secret_or_none(secret: bytes, holders: int, data: st.DataObject) -> None:
    """Whatever the threshold and the chosen holders: all but one of those needed are not enough."""
    threshold = data.draw(st.integers(2, holders))
    shares = split(secret, threshold, range(1, holders + 1))
    chosen = data.draw(st.permutations(sorted(shares)))[: threshold - 1]
    with suppress(ValueError):
        assert combine({place: shares[place] for place in chosen}) != secret


@given(SECRET)
@settings(max_examples=20, deadline=None)
def test_shares_are_random(secret: bytes) -> None:
    """Two splittings of one secret have no share in common."""
    first, second = split(secret, 3, (1, 2, 3)), split(secret, 3, (1, 2, 3))
    assert all(first[place] != second[place] for place in first)


def test_a_wrong_share_gives_another_secret_or_none() -> None:
    """Shares do not show whether they are right; commitments do."""
    secret = secrets.token_bytes(32)
    shares = split(secret, 2, (1, 2))
    with pytest.raises(ValueError, match="belong together"):
        combine({1: shares[1], 2: secrets.token_bytes(SHARE_BYTES - 8).rjust(SHARE_BYTES, b"\x01")})
    assert combine({1: (2**256 - 1).to_bytes(SHARE_BYTES)}) == b"\xff" * 32
    with pytest.raises(ValueError, match="belong together"):
        combine({1: (2**256).to_bytes(SHARE_BYTES)})


@pytest.mark.parametrize(
    ("secret", "threshold", "places"),
    [(b"short", 1, (1,)), (bytes(32), 3, (1, 2)), (bytes(32), 1, (1, 1)), (bytes(32), 1, (0, 1)), (bytes(32), 0, (1,))],
)
def test_what_cannot_be_split_is_refused(secret: bytes, threshold: int, places: tuple[int, ...]) -> None:
    """Other sizes, unreachable thresholds and places that are zero or named twice raise `ValueError`."""
    with pytest.raises(ValueError, match=r"secret|threshold|places"):
        split(secret, threshold, places)
