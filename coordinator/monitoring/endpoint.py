"""What a running coordinator answers over HTTP, where its settings have a `[monitor]`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from coordinator.home.settings import Home
from coordinator.monitoring.health import PROGRAM, store_answers
from coordinator.store.interface import Store
from shared.errors.settings import ServiceStuck
from shared.monitoring.endpoint import monitoring
from shared.monitoring.settings import MonitorSettings

if TYPE_CHECKING:
    from coordinator.monitoring.figures import CoordinatorFigures


@contextmanager
def monitored(settings: MonitorSettings | None, home: Home, store: Store) -> Iterator[None]:
    """Answer while the block runs; raises what `monitoring` raises. It is ready while its store answers."""

    def figures() -> "CoordinatorFigures":
        from coordinator.monitoring.figures import CoordinatorFigures

        return CoordinatorFigures(home, store)

    def ready() -> None:
        if not store_answers(store):
            raise ServiceStuck(program=PROGRAM, problem="its database does not answer")

    with monitoring(settings, figures, live=lambda: None, ready=ready):
        yield
