"""What the coordinator may ask of the place where it keeps ciphertext.

A name is a digest, so nothing here says whose study a ciphertext holds. What arrived of it grows until it is final;
only a row of the store says that it was received. Every implementation is held to the same laws
(tests/unit/coordinator/store/test_ciphertext_laws.py).
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from shared.ids import Sha256

CHUNK = 1 << 20  # bytes
ACKNOWLEDGE_EVERY = 4 << 20  # bytes; a site waits for it once it is `UNACKNOWLEDGED` ahead


class PartialCiphertext(Protocol):
    """A ciphertext that grows, open for one writer."""

    @property
    def size(self) -> int:
        """How many bytes have arrived, the durable ones and those that came since."""

    def write(self, chunks: Iterable[bytes]) -> Iterator[int]:
        """Append chunks; yields how many bytes are durable, each time that 5 MiB more are, or sooner."""

    def discard(self) -> None:
        """Delete what arrived, final or not."""

    def finalise(self, digest: Sha256) -> bool:
        """Make the whole ciphertext final and durable; `False`, and nothing of it stays, when it has another digest."""


class CiphertextStore(Protocol):
    """Ciphertexts by their names, unfinished and final."""

    def durable(self, name: Sha256) -> int:
        """How many bytes of `name` have arrived and survive a power cut; 0 when none have."""

    def arrived(self, name: Sha256) -> int:
        """How many bytes of `name` have arrived, durable or not: what it takes of a quota."""

    def open_partial(self, name: Sha256) -> AbstractContextManager[PartialCiphertext]:
        """Open `name` for one writer, also where it is final and no row says so, until the block ends.

        Raises `UploadInterrupted` when there is another writer.
        """

    def is_final(self, name: Sha256) -> bool:
        """Whether `name` is whole and was checked."""

    def read(self, name: Sha256, start: int = 0) -> Iterator[bytes]:
        """The bytes of a final ciphertext from `start` on."""

    def delete(self, name: Sha256) -> bool:
        """Delete what arrived of `name`, final or not, unless it is open for writing; whether nothing is left."""
