"""The vectors of a secure-sum session: 64-bit words, masked in place, which travel little-endian.

A mask is key stream read as such words. A coordinator that executes no federated run loads neither this nor NumPy.
"""

from typing import NamedTuple

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from numpy.typing import NDArray

from shared.errors.federation import SecureSumRefused
from shared.federation.secure_sum.messages import SumPlan
from shared.ids import SiteId

Words = NDArray[np.uint64]  # a vector modulo 2^64
_BLOCK = 32768  # words
_ZEROS = memoryview(bytes(8 * _BLOCK))


def add_mask(words: Words, key: bytes, *, subtract: bool = False) -> None:
    """Add to `words`, in place and modulo 2^64, the mask of that key, or subtract it.

    In blocks that stay in the processor's cache: a vector of 25 million words has 200 MB, and so has each mask.
    """
    stream, change = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor(), np.subtract if subtract else np.add
    for start in range(0, len(words), _BLOCK):
        block = words[start : start + _BLOCK]
        change(block, np.frombuffer(stream.update(_ZEROS[: block.nbytes]), dtype="<u8"), out=block)


class Masked(NamedTuple):
    """A site's masked vector, and the places of the sharers whose share for it is not what they committed to."""

    words: Words
    accused: tuple[SiteId, ...]


def pack_masked(plan: SumPlan, masked: Masked) -> bytes:
    """Answer of `mask`: 16 bytes of session, a bit for each place of the roster (1: accused), then the words."""
    bits = sum(1 << plan.place_of(site) for site in masked.accused)
    head = bytes.fromhex(plan.session) + bits.to_bytes(_head_bytes(plan) - 16, "little")
    return head + masked.words.astype("<u8", copy=False).tobytes()


def unpack_masked(payload: bytes, plan: SumPlan) -> Masked:
    """What `pack_masked` made; raises `SecureSumRefused` on another session or length."""
    head = _head_bytes(plan)
    if payload[:16] != bytes.fromhex(plan.session) or len(payload) != head + 8 * plan.length:
        raise SecureSumRefused(problem="a masked vector is of another session or length")
    bits = int.from_bytes(payload[16:head], "little")
    words = np.frombuffer(payload, dtype="<u8", offset=head).astype(np.uint64, copy=False)
    return Masked(words, tuple(site for site in plan.sites if bits >> plan.place_of(site) & 1))


def _head_bytes(plan: SumPlan) -> int:
    return 16 + 8 * (len(plan.roster) // 64 + 1)  # whole words, so that the whole answer is an array of them
