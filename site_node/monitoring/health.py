"""Whether the node of a home runs and goes on, as another process sees it."""

from shared.errors.settings import ServiceNotRunning
from shared.monitoring.pulse import Pulse
from site_node.home.folder import SiteHome

PROGRAM = "ricord-site run"


def check_health(home: SiteHome) -> None:
    """Raise `ServiceNotRunning` or `ServiceStuck`; neither settings nor ledger are read."""
    if not home.is_served():
        raise ServiceNotRunning(folder=str(home.folder), program=PROGRAM)
    Pulse(home.pulse).check(PROGRAM)
