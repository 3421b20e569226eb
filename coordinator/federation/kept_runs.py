"""Checkpoints and figures of runs where the next process that executes the run finds them."""

from pathlib import Path

import structlog

from coordinator.federation.checkpoints import METRICS_FILE, finished_rounds
from coordinator.federation.interface import SharedFiles
from shared.errors.storage import StorageError
from shared.errors.transport import StoreUnreachable
from shared.ids import RunId

_log = structlog.get_logger("federation")


class KeptRuns:
    """The files of runs, besides their folders on this host; `files` is `None` where every process has that folder."""

    def __init__(self, files: SharedFiles | None) -> None:
        self._files = files

    def fetch(self, run: RunId, folder: Path) -> None:
        """Replace the figures, the best and the last checkpoint in the run's folder by those kept last, if any were."""
        if self._files is None or not self._files.fetch(f"{run}/{METRICS_FILE}", folder / METRICS_FILE):
            return
        if (finished := finished_rounds(folder)) is not None:
            for name in dict.fromkeys(finished.files):
                self._files.fetch(f"{run}/{name}", folder / name)

    def keep(self, run: RunId, folder: Path) -> None:
        """Keep the best and the last checkpoint, then the figures; a failure costs the next process this round."""
        finished = finished_rounds(folder)
        if self._files is None or finished is None:
            return
        try:
            for name in dict.fromkeys((*finished.files, METRICS_FILE)):
                self._files.keep(f"{run}/{name}", folder / name)
        except (StoreUnreachable, StorageError) as error:
            _log.warning("run.not-kept", run=run, code=error.code)
