"""The people of a home's console, for the commands that invite, list and remove them."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from shared.web.people import People
from shared.web.store import Store
from site_node.home.folder import SiteHome


@contextmanager
def people_of(home: SiteHome) -> Iterator[People]:
    """The people; raises what opening a home's settings and a `Store` raises."""
    home.load()
    with closing(Store(home.console)) as store:
        yield People(store)
