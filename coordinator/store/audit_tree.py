"""The Merkle tree over the audit log in the database: a leaf is an event's digest, a row each larger whole subtree."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select

from coordinator.store import tables
from coordinator.store.audit_chain import AuditEvent
from coordinator.store.statements import replacing, selecting
from shared.audit_head import leaf_of
from shared.errors.inputs import InvalidIdentifier
from shared.errors.trust import AuditBroken
from shared.ids import Sha256
from shared.merkle import Subtree, node_hash

_SUBTREE = selecting(tables.audit_subtrees, "level", "position")


def log_size(connection: Connection) -> int:
    """How many events there are."""
    return int(connection.execute(select(func.coalesce(func.max(tables.events.c.number), 0))).scalar_one())


def tree_hashes(connection: Connection, subtrees: Collection[Subtree]) -> Mapping[Subtree, bytes]:
    """The hashes of whole subtrees; raises `AuditBroken` where an event or a subtree is missing."""
    by_level = defaultdict[int, list[int]](list)
    for subtree in subtrees:
        by_level[subtree.level].append(subtree.position)
    hashes, event, row = dict[Subtree, bytes](), tables.events.c, tables.audit_subtrees.c
    if leaves := by_level.pop(0, []):
        query = select(event.number, event.digest).where(event.number.in_([index + 1 for index in leaves]))
        hashes |= {Subtree(0, number - 1): _leaf(number, digest) for number, digest in connection.execute(query)}
    if by_level:
        asked = [and_(row.level == level, row.position.in_(positions)) for level, positions in by_level.items()]
        query = select(tables.audit_subtrees).where(or_(*asked))
        hashes |= {Subtree(whole.level, whole.position): bytes(whole.hash) for whole in connection.execute(query)}
    missing = [position << level for level, position in set(subtrees) - hashes.keys()]
    if missing:
        raise AuditBroken("the stored tree has a hole", number=str(min(missing) + 1))
    return hashes


def _leaf(number: int, digest: str) -> bytes:
    try:
        return leaf_of(Sha256(digest))
    except InvalidIdentifier as error:
        raise AuditBroken("its digest is none", number=str(number)) from error


def add_leaf(connection: Connection, event: AuditEvent, previous: AuditEvent) -> None:
    """Store the subtrees that an event makes whole: none after an even number of others.

    Rows that an event cut from the log left are replaced. Raises `AuditBroken` where a subtree beside one is missing.
    """
    index, level, whole, rows = event.number - 1, 0, leaf_of(event.digest), list[dict[str, Any]]()
    while index >> level & 1:
        whole = node_hash(_before(connection, previous, level, (index >> level) - 1), whole)
        level += 1
        rows.append({"level": level, "position": index >> level, "hash": whole})
    if rows:
        connection.execute(replacing(tables.audit_subtrees, connection.dialect.name), rows)


def _before(connection: Connection, previous: AuditEvent, level: int, position: int) -> bytes:
    if level == 0:
        return leaf_of(previous.digest)
    row = connection.execute(_SUBTREE, {"level": level, "position": position}).first()
    if row is None:
        raise AuditBroken("the stored tree has a hole", number=str((position << level) + 1))
    return bytes(row.hash)
