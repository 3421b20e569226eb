"""Records as rows: one row of a table for each record, one column for each field."""

from collections.abc import Sequence
from enum import Enum
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, insert, select, update

from shared.frozen import Frozen

Record = TypeVar("Record", bound=Frozen)


class Rows:
    """The rows that one transaction reads and writes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _get(self, record: type[Record], table: Table, **key: str | int) -> Record | None:
        rows = self._all(record, table, *(table.c[name] == _plain_value(value) for name, value in key.items()))
        return rows[0] if rows else None

    def _all(
        self, kind: type[Record], table: Table, *conditions: Any, order: Any = None, limit: int | None = None
    ) -> Sequence[Record]:
        query = select(table).where(*conditions).limit(limit)
        if order is not None:
            query = query.order_by(*(order if isinstance(order, tuple) else (order,)))
        return [kind.model_validate(dict(row)) for row in self._connection.execute(query).mappings()]

    def _put(self, table: Table, record: Frozen) -> None:
        """Replace the row with the record's primary key, or add it."""
        values = plain(record)
        same = [column == values[column.name] for column in table.primary_key]
        if self._connection.execute(update(table).where(*same).values(**values)).rowcount == 0:
            self._connection.execute(insert(table).values(**values))

    def _add(self, table: Table, record: Frozen) -> None:
        self._connection.execute(insert(table).values(**plain(record)))


def plain(record: Frozen) -> dict[str, Any]:
    """Column values: identifiers and enumerations as plain text, moments as they are, documents as JSON's values."""
    return {name: _plain_value(value) for name, value in record}


def _plain_value(value: Any) -> Any:
    if isinstance(value, Frozen):
        return value.model_dump(mode="json")
    if isinstance(value, Enum):
        return str(value.value)
    return str(value) if isinstance(value, str) else value
