"""Records as rows: one row of a table for each record, one column for each field."""

from collections.abc import Sequence
from enum import Enum
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, Table, insert, select

from coordinator.store.statements import adding_once, replacing, selecting
from shared.frozen import Frozen

Record = TypeVar("Record", bound=Frozen)


class Rows:
    """The rows that one transaction reads and writes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _get(self, record: type[Record], table: Table, **key: str | int) -> Record | None:
        return self._first(record, selecting(table, *key), **{name: _plain_value(value) for name, value in key.items()})

    def _first(self, record: type[Record], query: Select[Any], **values: str | int) -> Record | None:
        row = self._connection.execute(query, values).first()
        return None if row is None else record.model_validate(row._asdict())

    def _all(
        self, kind: type[Record], table: Table, *conditions: Any, order: Any = None, limit: int | None = None
    ) -> Sequence[Record]:
        query = select(table).where(*conditions).limit(limit)
        if order is not None:
            query = query.order_by(*(order if isinstance(order, tuple) else (order,)))
        return self._every(kind, query)

    def _every(self, kind: type[Record], query: Select[Any], **values: str | int) -> Sequence[Record]:
        return [kind.model_validate(dict(row)) for row in self._connection.execute(query, values).mappings()]

    def _put(self, table: Table, record: Frozen) -> None:
        """Add a row, or replace the one with the record's primary key, in one statement beside which others may."""
        self._connection.execute(replacing(table, self._connection.dialect.name), plain(record))

    def _add(self, table: Table, record: Frozen) -> None:
        self._connection.execute(insert(table), plain(record))

    def _add_once(self, table: Table, record: Frozen) -> bool:
        """Add a row; `False`, and nothing changed, where there is one with the record's primary key."""
        added = adding_once(table, self._connection.dialect.name)
        return self._connection.execute(added, plain(record)).rowcount == 1


def plain(record: Frozen) -> dict[str, Any]:
    """Column values: identifiers and enumerations as plain text, moments as they are, documents as JSON's values."""
    return {name: _plain_value(value) for name, value in record}


def _plain_value(value: Any) -> Any:
    if isinstance(value, Frozen):
        return value.model_dump(mode="json")
    if isinstance(value, Enum):
        return str(value.value)
    return str(value) if isinstance(value, str) else value
