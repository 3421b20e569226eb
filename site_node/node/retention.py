"""Forget what a PACS was asked for, which is PHI, once it is no longer needed."""

from collections.abc import Callable
from datetime import datetime, timedelta

from site_node.home.retrieve_requests import Requests
from site_node.receive.request_lists import WantedFiles

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
    entries = requests.lists()
    for name, made_at in wanted.lists():
        entry = entries.get(name)
        if entry is None:
            is_over = now - made_at >= max(stay, _NEVER_ENTERED)
        else:
            least = max(stay, FOR_RETRY) if entry.is_missing else stay
            is_over = not entry.is_open and now - entry.changed_at >= least
        if not is_over:
            continue
        for request, asked in wanted.read(name).items():
            if asked.accession and (one := requests.get(request)) and not one.reason:
                came(asked.accession)
        wanted.remove(name)
        gone += 1
    return gone
