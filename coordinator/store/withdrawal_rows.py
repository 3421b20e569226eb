"""The rows of withdrawals; see `interface.Work`."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam

from coordinator.store import tables
from coordinator.store.records import Unfinished, Withdrawal
from coordinator.store.rows import Rows
from coordinator.store.statements import selecting
from shared.frozen import LARGEST_NUMBER
from shared.ids import Uid


class WithdrawalRows(Rows):
    """What a transaction reads and writes of withdrawals."""

    def withdrawals(
        self,
        *,
        site_id: str | None = None,
        study: Uid | None = None,
        curator: str | None = None,
        unfinished: Unfinished | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> Sequence[Withdrawal]:
        """By number."""
        named = {"site_id": site_id, "study": study, "curator": curator}
        values = {name: str(value) for name, value in named.items() if value is not None}
        most = LARGEST_NUMBER if limit is None else limit
        return self._every(Withdrawal, _selecting(unfinished, *values), **values, after=after, most=most)

    def put_withdrawal(self, withdrawal: Withdrawal) -> None:
        """Add or replace."""
        self._put(tables.withdrawals, withdrawal)


@cache
def _selecting(unfinished: Unfinished | None, *names: str) -> Select[Any]:
    """Those with values of these names that come `after` a number, `most` of them: every upload asks so."""
    row = tables.withdrawals.c
    query = selecting(tables.withdrawals, *names).where(row.number > bindparam("after"))
    if unfinished is not None:
        query = query.where(row[unfinished].is_(None))
    return query.order_by(row.number).limit(bindparam("most"))
