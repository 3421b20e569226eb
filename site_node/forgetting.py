"""Forget what a PACS was asked for, which is PHI, once it is no longer needed."""

from collections.abc import Callable
from datetime import datetime, timedelta

from site_node.receive.wanted import WantedFiles, WantedList
from site_node.requests import RequestEntry, Requests

FOR_RETRY = timedelta(days=7)  # where something is missing, `pacs retry` needs the list
_NEVER_ENTERED = timedelta(days=1)  # a kill came between list and ledger; a running command needs a moment for both


def forget_lists(
    wanted: WantedFiles, requests: Requests, *, stay: timedelta | None, now: datetime, came: Callable[[str], None]
) -> int:
    """Remove every list whose requests all ended at least `stay` ago; how many. `None` keeps them for good.

    A list of which something is missing stays for a week at least. `came` is told each accession number of which all
    came, before its list goes.
    """
    if stay is None:
        return 0
    gone = 0
    for one in wanted.lists():
        entries = [entry for name in one.requests if (entry := requests.get(name))]
        if any(entry.is_open for entry in entries) or now - _ended(one, entries) < _least(entries, stay):
            continue
        whole = {entry.id for entry in entries if not entry.reason}
        for name, asked in one.requests.items():
            if name in whole and asked.accession:
                came(asked.accession)
        wanted.remove(one.name)
        gone += 1
    return gone


def _ended(one: WantedList, entries: list[RequestEntry]) -> datetime:
    return max((entry.changed_at for entry in entries), default=one.made_at)


def _least(entries: list[RequestEntry], stay: timedelta) -> timedelta:
    if not entries:
        return max(stay, _NEVER_ENTERED)
    return max(stay, FOR_RETRY) if any(entry.reason for entry in entries) else stay
