"""Shamir's secret sharing (1979) of 32-byte secrets over the prime field of 2^521 - 1.

The Mersenne prime leaves room for any 256-bit secret and needs no search for a prime. A share is the polynomial's
value at the holder's place (1, 2, ...), 66 bytes, big-endian. Any `threshold` shares give the secret; fewer say
nothing about it. A wrong share silently gives a wrong secret: compare the result with a commitment.
"""

import secrets
from collections.abc import Mapping, Sequence

PRIME = 2**521 - 1
SECRET_BYTES = 32
SHARE_BYTES = 66


def split(secret: bytes, threshold: int, places: Sequence[int]) -> dict[int, bytes]:
    """Shares of a 32-byte `secret` by place; any `threshold` of them give it back.

    Raises `ValueError` on a secret of another size, places that are not distinct and positive, or a threshold that
    they cannot meet.
    """
    if len(secret) != SECRET_BYTES:
        raise ValueError("the secret is not 32 bytes")
    if len(set(places)) != len(places) or any(place < 1 for place in places):
        raise ValueError("places must be distinct and positive")
    if not 1 <= threshold <= len(places):
        raise ValueError("the threshold cannot be met")
    polynomial = [int.from_bytes(secret), *(secrets.randbelow(PRIME) for _ in range(threshold - 1))]
    return {place: _value(polynomial, place).to_bytes(SHARE_BYTES) for place in places}


def combine(shares: Mapping[int, bytes]) -> bytes:
    """The secret of `shares`, by Lagrange interpolation at zero; raises `ValueError` when it exceeds 32 bytes."""
    total = 0
    for place, share in shares.items():
        numerator, denominator = 1, 1
        for other in shares:
            if other != place:
                numerator = numerator * other % PRIME
                denominator = denominator * (other - place) % PRIME
        total += int.from_bytes(share) * numerator * pow(denominator, -1, PRIME)
    secret = total % PRIME
    if secret >= 2 ** (8 * SECRET_BYTES):
        raise ValueError("these shares do not belong together")
    return secret.to_bytes(SECRET_BYTES)


def _value(polynomial: Sequence[int], place: int) -> int:
    total = 0
    for coefficient in reversed(polynomial):
        total = (total * place + coefficient) % PRIME
    return total
