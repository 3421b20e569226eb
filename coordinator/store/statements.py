"""Statements of every upload, put together once for each table: to build one costs more than to execute it."""

from functools import cache
from typing import Any

from sqlalchemy import Insert, Select, Table, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}  # by dialect


@cache
def selecting(table: Table, *names: str) -> Select[Any]:
    """The rows in which columns have the values that are bound to their names."""
    return select(table).where(*(table.c[name] == bindparam(name) for name in names))


@cache
def replacing(table: Table, dialect: str) -> Insert:
    """Add a row or replace that of its primary key; another transaction may do so beside it."""
    added, key = _INSERT[dialect](table), [column.name for column in table.primary_key]
    others = {column.name: added.excluded[column.name] for column in table.columns if column.name not in key}
    statement: Insert = added.on_conflict_do_update(index_elements=key, set_=others)
    return statement


@cache
def adding_once(table: Table, dialect: str) -> Insert:
    """Add a row unless there is one of its primary key; the count of rows says whether."""
    key = [column.name for column in table.primary_key]
    added: Insert = _INSERT[dialect](table).on_conflict_do_nothing(index_elements=key)
    return added.execution_options(preserve_rowcount=True)
