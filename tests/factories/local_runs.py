"""The federation process's runs over local sites: a SuperLink without sockets."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flwr.app import Context, RecordDict

from coordinator.cohort.pooling import Pooling
from coordinator.federation.process import _Worker
from coordinator.home.identity import Identity
from coordinator.store.records import Run
from coordinator.store.sql import SqlStore
from shared.ids import SiteId
from site_node.federate.site import FederateSettings
from tests.factories.local_grid import LocalGrid


class LocalSuperLink:
    """A SuperLink whose runs go to local sites."""

    def __init__(self, sites: dict[int, FederateSettings]) -> None:
        self.grid = LocalGrid(sites)
        self._nodes = {site.site_id: node for node, site in sites.items()}

    def nodes(self) -> dict[SiteId, int]:
        """Each site's node."""
        return self._nodes

    @contextmanager
    def run(self, bundle: bytes, *, largest: int = 0) -> Iterator[Any]:
        """One run."""
        yield SimpleNamespace(grid=self.grid, context=Context(1, 1, {}, RecordDict(), {}))


def worker_for(
    store: SqlStore, identity: Identity, sites: dict[int, FederateSettings], folder: Path, stop: threading.Event
) -> _Worker:
    superlink: Any = LocalSuperLink(sites)
    return _Worker(store, superlink, folder, Pooling(store, identity), stop, key=identity.signing_key)


def execute(store: SqlStore, identity: Identity, sites: dict[int, FederateSettings], folder: Path, run: Run) -> None:
    worker = worker_for(store, identity, sites, folder, threading.Event())
    (pending,) = worker.next_pending({})
    assert pending.id == run.id
    worker.execute(pending)
