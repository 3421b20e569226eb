"""The audit chain: each event's digest covers the previous one, so no event can be changed or left out unnoticed.

Cutting the tail does not break a chain; it contradicts the heads in the receipts that sites hold.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime

from pydantic import Field

from shared.agreement import Moment
from shared.frozen import Frozen
from shared.ids import Sha256
from shared.manifest import canonical_json

GENESIS = Sha256("0" * 64)


class AuditEvent(Frozen):
    """One link of the chain. `digest` covers the previous link and everything else here."""

    number: int = Field(ge=1)
    at: Moment
    actor: str
    action: str
    object: str
    result: str
    digest: Sha256


class ChainReport(Frozen):
    """The result of recomputing the chain.

    `broken_at` is the first event that does not fit its predecessor or a receipt, or that a receipt names and that is
    missing; 0 when the chain is intact.
    """

    events: int
    head: Sha256
    broken_at: int = 0

    @property
    def intact(self) -> bool:
        """Whether every event fits its predecessor and the receipts."""
        return self.broken_at == 0


def link(
    previous: AuditEvent | None, *, at: datetime, actor: str, action: str, about: str, result: str = "done"
) -> AuditEvent:
    """The event that follows `previous` (`None`: the first)."""
    number = previous.number + 1 if previous else 1
    bare = AuditEvent(number=number, at=at, actor=actor, action=action, object=about, result=result, digest=GENESIS)
    return bare.model_copy(update={"digest": digest_of(bare, previous.digest if previous else GENESIS)})


def digest_of(event: AuditEvent, previous: Sha256) -> Sha256:
    """SHA-256 over the canonical JSON of the event without its digest, and the previous digest."""
    fields = {**event.model_dump(mode="json", exclude={"digest"}), "previous": previous}
    return Sha256(hashlib.sha256(canonical_json(fields)).hexdigest())


def verify(events: Iterable[AuditEvent], heads: Iterable[tuple[int, Sha256]] = ()) -> ChainReport:
    """Recompute a chain from its first event and compare it with `heads`, the numbers and digests receipts name.

    A chain rewritten from some event on is consistent in itself, but contradicts a receipt issued before.
    """
    named: dict[int, set[Sha256]] = {}
    for number, digest in heads:
        named.setdefault(number, set()).add(digest)
    head, count = GENESIS, 0
    for event in events:
        fits = event.number == count + 1 and event.digest == digest_of(event, head)
        if not fits or named.pop(event.number, {event.digest}) != {event.digest}:
            return ChainReport(events=count, head=head, broken_at=event.number)
        head, count = event.digest, count + 1
    return ChainReport(events=count, head=head, broken_at=min(named, default=0))
