"""Checkpoints and figures of runs where the next process that executes the run finds them."""

from pathlib import Path

import structlog

from coordinator.federation.interface import SharedFiles
from coordinator.federation.training import METRICS_FILE, finished_rounds
from shared.errors.storage import StorageError
from shared.errors.transport import StoreUnreachable
from shared.ids import RunId

_log = structlog.get_logger("federation")


class KeptRuns:
    """The files of runs, besides their folders on this host; `files` is `None` where every process has that folder."""

    def __init__(self, files: SharedFiles | None) -> None:
        self._files = files

    def fetch(self, run: RunId, folder: Path) -> None:
        """Replace the figures and the last checkpoint in the run's folder by those that were kept last, if any were."""
        if self._files is None or not self._files.fetch(f"{run}/{METRICS_FILE}", folder / METRICS_FILE):
            return
        if (finished := finished_rounds(folder)) is not None:
            self._files.fetch(f"{run}/{finished.model}", folder / finished.model)

    def keep(self, run: RunId, folder: Path) -> None:
        """Keep the last checkpoint, then the figures that name it; a failure costs the next process this round."""
        finished = finished_rounds(folder)
        if self._files is None or finished is None:
            return
        try:
            for name in (finished.model, METRICS_FILE):
                self._files.keep(f"{run}/{name}", folder / name)
        except (StoreUnreachable, StorageError) as error:
            _log.warning("run.not-kept", run=run, code=error.code)
