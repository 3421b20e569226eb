"""An open home, for commands and the service loop."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.editions import ProtocolEdition
from shared.errors.trust import NotEnrolled
from shared.protocol.loader import Protocol, load_edition, load_protocol
from site_node.home.folder import SiteHome
from site_node.home.free_space import FreeSpace
from site_node.home.ledger import Ledger
from site_node.membership.record import Membership, load_membership
from site_node.settings.site import SiteSettings

if TYPE_CHECKING:
    from site_node.node.composition import SiteStages


@dataclass(frozen=True)
class Node:
    """A home with its settings, its ledger and its membership; `membership` is `None` before enrolment."""

    home: SiteHome
    settings: SiteSettings
    ledger: Ledger
    membership: Membership | None

    @property
    def stages(self) -> "SiteStages":
        """The site's stages, composed anew at each access so that a clinical sheet imported meanwhile is read."""
        from site_node.node.composition import SiteStages

        return SiteStages(self.home, self.settings, self.ledger, self.membership)

    @property
    def protocol(self) -> Protocol:
        """The protocol of the settings, in the edition installed; raises `ProtocolInvalid`."""
        return load_protocol(self.settings.protocol)

    @property
    def edition(self) -> ProtocolEdition:
        """That edition's name and digest, for which the protocol is not read; raises `ProtocolInvalid`."""
        return load_edition(self.settings.protocol)

    @property
    def free_space(self) -> FreeSpace:
        """The disk that the home lies on."""
        return FreeSpace(self.home.folder, self.settings.min_free_mb)


@contextmanager
def open_node(home: SiteHome, *, writing: bool = True) -> Iterator[Node]:
    """Open a home; with `writing`, as the one process that moves studies.

    Raises what reading the settings raises; `HomeBusy` where another process writes, and `HomeRestored`, if `writing`.
    """
    settings = home.load()
    with ExitStack() as stack:
        if writing:
            stack.enter_context(home.writing())
        ledger = Ledger(home.ledger)
        stack.callback(ledger.close)
        if writing:
            ledger.restoration.check()
        yield Node(home, settings, ledger, membership_of(home))


def membership_of(home: SiteHome) -> Membership | None:
    """The site's membership, or `None` before enrolment."""
    try:
        return load_membership(home)
    except NotEnrolled:
        return None
