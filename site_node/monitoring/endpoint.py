"""What a running node answers over HTTP, where its settings have a `[monitor]`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.monitoring.endpoint import monitoring
from shared.monitoring.settings import MonitorSettings
from site_node.home.folder import SiteHome
from site_node.home.free_space import FreeSpace
from site_node.monitoring.health import PROGRAM
from site_node.monitoring.watch import Watch

if TYPE_CHECKING:
    from site_node.monitoring.figures import NodeFigures


@contextmanager
def monitored(settings: MonitorSettings | None, home: SiteHome, space: FreeSpace, watch: Watch) -> Iterator[None]:
    """Answer while the block runs; raises what `monitoring` raises.

    The node is live while it is not stuck, and ready while it is live and has space for what comes.
    """

    def figures() -> "NodeFigures":
        from site_node.monitoring.figures import NodeFigures

        return NodeFigures(home, space, watch)

    def live() -> None:
        watch.pulse.check(PROGRAM)

    def ready() -> None:
        live()
        space.check()

    with monitoring(settings, figures, live=live, ready=ready):
        yield
