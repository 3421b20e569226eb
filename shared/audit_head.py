"""The head of the coordinator's audit log as it signs it: how many events there are, and the root over them all."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from shared import merkle
from shared.agreement import Moment
from shared.frozen import LARGEST_NUMBER, Frozen
from shared.ids import Sha256


class AuditHead(Frozen):
    """A Merkle tree (RFC 9162) whose leaf n - 1 is the digest of event n in the hash chain.

    A digest covers every event before it, so the `audit_head` of a receipt is a leaf of every later tree.
    """

    format: Literal["ricord-audit-head/1"] = "ricord-audit-head/1"
    federation: str
    size: Annotated[int, Field(ge=0, le=LARGEST_NUMBER)]
    root: Sha256
    signed_at: Moment

    def extends(self, earlier: "AuditHead", proof: Sequence[bytes]) -> bool:
        """Whether `proof` shows that the log of `earlier` is the beginning of this one."""
        return merkle.is_consistent(
            earlier.size, bytes.fromhex(earlier.root), self.size, bytes.fromhex(self.root), proof
        )

    def contains(self, number: int, digest: Sha256, path: Sequence[bytes]) -> bool:
        """Whether `path` shows that the event of that number has that digest."""
        return merkle.is_included(leaf_of(digest), number - 1, self.size, path, bytes.fromhex(self.root))


def leaf_of(digest: Sha256) -> bytes:
    """The hash of the leaf of the event that has this digest."""
    return merkle.leaf_hash(bytes.fromhex(digest))


def root_digest(root: bytes) -> Sha256:
    """A root as a head names it."""
    return Sha256(root.hex())
