"""Remove lists of requests to the PACS, which are PHI, once they are no longer needed."""

from collections.abc import Callable
from datetime import datetime, timedelta

from site_node.home.retrieve_requests import Requests
from site_node.receive.request_lists import RequestLists

FOR_RETRY = timedelta(days=7)  # an incomplete list, which `pacs retry` needs
_NEVER_ENTERED = timedelta(days=1)  # no ledger entry: a kill came between the two


def forget_lists(
    lists: RequestLists, requests: Requests, *, stay: timedelta | None, now: datetime, remember: Callable[[str], None]
) -> int:
    """Remove every list whose requests all ended at least `stay` ago, and return how many. `None` keeps them for good.

    An incomplete list stays for at least a week. `remember` is called with each accession number that arrived whole,
    before its list is removed.
    """
    if stay is None:
        return 0
    removed = 0
    entries = requests.lists()
    for name, made_at in lists.lists():
        entry = entries.get(name)
        if entry is None:
            is_over = now - made_at >= max(stay, _NEVER_ENTERED)
        else:
            least = max(stay, FOR_RETRY) if entry.is_incomplete else stay
            is_over = not entry.is_open and now - entry.changed_at >= least
        if not is_over:
            continue
        for request_id, request in lists.read(name).items():
            if request.accession and (ended := requests.get(request_id)) and not ended.reason:
                remember(request.accession)
        lists.remove(name)
        removed += 1
    return removed
