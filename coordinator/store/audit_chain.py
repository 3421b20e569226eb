"""The audit chain: each event's digest covers the previous one, so no event can be changed or left out unnoticed.

Cutting the tail does not break a chain; it contradicts the heads that the coordinator signed: in the receipts that
sites hold, and in the one beside its own database.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime

from pydantic import Field

from shared.agreement import Moment
from shared.audit_head import AuditHead, leaf_of, root_digest
from shared.frozen import Frozen
from shared.ids import Sha256
from shared.manifest import canonical_json
from shared.merkle import Tree

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

    `broken_at` is the first event that does not fit its predecessor, a receipt or a kept head, or that one of them
    names and that is missing; 0 when the chain is intact. `root` is that of the tree over the events before it.
    """

    events: int
    head: Sha256
    root: Sha256
    broken_at: int = 0

    @property
    def intact(self) -> bool:
        """Whether every event fits its predecessor and what was signed of it."""
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


def verify(
    events: Iterable[AuditEvent], heads: Iterable[tuple[int, Sha256]] = (), kept: AuditHead | None = None
) -> ChainReport:
    """Recompute a chain from its first event, and compare it with what was signed before.

    `heads` are the numbers and digests that receipts name, in rising order, `kept` a head of the log. A chain rewritten
    from some event on is consistent in itself, but contradicts a receipt issued before; so does one whose end was cut.
    Nothing but a page of either is held.
    """
    named, tree, head = iter(heads), Tree(), GENESIS
    awaited = next(named, None)
    for event in events:
        if event.number != tree.size + 1 or event.digest != digest_of(event, head):
            return _report(tree, head, broken_at=event.number)
        while awaited is not None and awaited[0] <= event.number:
            if awaited != (event.number, event.digest):
                return _report(tree, head, broken_at=awaited[0])
            awaited = next(named, None)
        tree.append(leaf_of(event.digest))
        head = event.digest
        if kept is not None and tree.size == kept.size and root_digest(tree.root) != kept.root:
            return _report(tree, head, broken_at=event.number)
    if kept is not None and tree.size < kept.size:
        return _report(tree, head, broken_at=tree.size + 1)
    return _report(tree, head, broken_at=awaited[0] if awaited else 0)


def _report(tree: Tree, head: Sha256, *, broken_at: int) -> ChainReport:
    return ChainReport(events=tree.size, head=head, root=root_digest(tree.root), broken_at=broken_at)
