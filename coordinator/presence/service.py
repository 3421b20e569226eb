"""Keep the latest report of each site's node, and say how long ago that was."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from pydantic import ValidationError

from coordinator.home.identity import Clock, utc_now
from coordinator.store.interface import Reading, Store
from coordinator.store.records import Presence
from shared.errors.inputs import InvalidArgument
from shared.frozen import Frozen
from shared.ids import SiteId

_SILENT_AFTER = timedelta(hours=1)  # a node reports each minute


class Contact(Frozen):
    """The latest report of a site, how old it is, and whether that is over an hour."""

    presence: Presence
    age: timedelta
    silent: bool


class PresenceService:
    """Reports of running nodes. They are of the moment: the next one replaces each, and none is audited."""

    def __init__(self, store: Store, clock: Clock = utc_now) -> None:
        self._store = store
        self._now = clock

    def report(self, site_id: SiteId, values: Mapping[str, object]) -> None:
        """Keep what a site reports in place of its last report; raises `InvalidArgument` for a value out of bounds."""
        try:
            presence = Presence.model_validate({**values, "site_id": site_id, "reported_at": self._now()})
        except ValidationError:
            raise InvalidArgument(name="The report", problem="a number or the version is out of bounds") from None
        with self._store.begin(passing=True) as work:
            work.put_presence(presence)


def contact_of(reading: Reading, site_id: SiteId, now: datetime) -> Contact | None:
    """The contact with a site; `None` before its first report."""
    presence = reading.presence(site_id)
    if presence is None:
        return None
    age = max(now - presence.reported_at, timedelta())
    return Contact(presence=presence, age=age, silent=age > _SILENT_AFTER)
