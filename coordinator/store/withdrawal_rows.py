"""The rows of withdrawals; see `interface.Work`."""

from collections.abc import Sequence

from coordinator.store import tables
from coordinator.store.records import Unfinished, Withdrawal
from coordinator.store.rows import Rows
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
        row = tables.withdrawals.c
        conditions = [row.number > after]
        named = {"site_id": site_id, "study": study, "curator": curator}
        conditions += [row[name] == str(value) for name, value in named.items() if value is not None]
        if unfinished is not None:
            conditions.append(row[unfinished].is_(None))
        return self._all(Withdrawal, tables.withdrawals, *conditions, order=row.number, limit=limit)

    def put_withdrawal(self, withdrawal: Withdrawal) -> None:
        """Add or replace."""
        self._put(tables.withdrawals, withdrawal)
