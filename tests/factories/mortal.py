"""The coordinator's program, which sends itself SIGKILL before or after a step of a withdrawal that a file names.

`python -m tests.factories.mortal FILE ARGUMENTS…` runs `ricord-coordinator ARGUMENTS…`. The file holds numbers: so many
steps are left to each further death. Every process that has the file counts on.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from threading import Lock
from typing import Any

from coordinator.cli import main
from coordinator.curation import purging
from coordinator.store.folder import CiphertextFolder
from coordinator.store.work import SqlWork
from coordinator.submission.withdrawals import WithdrawalService

STEPS: tuple[tuple[Any, str], ...] = (
    *((SqlWork, name) for name in ("append_event", "put_withdrawal", "put_submission")),
    (WithdrawalService, "_finish"),
    (CiphertextFolder, "delete"),
    (purging, "write_whole"),
    (purging, "sync_folder"),
    (purging.Purger, "_purge"),
    (shutil, "rmtree"),
)


def burn(file: Path) -> None:
    """Count a step, and die if it is the one."""
    left = [int(number) for number in file.read_text().split()]
    if left:
        file.write_text(" ".join(map(str, [left[0] - 1, *left[1:]] if left[0] else left[1:])))
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def mortal(act: Callable[..., Any], file: Path, lock: Lock) -> Callable[..., Any]:
    """The same step, which may be the last, or never be begun."""

    @wraps(act)
    def call(*arguments: Any, **named: Any) -> Any:
        with lock:
            burn(file)
        result = act(*arguments, **named)
        with lock:
            burn(file)
        return result

    return call


if __name__ == "__main__":
    fuse, one_at_a_time = Path(sys.argv.pop(1)), Lock()
    for place, step in STEPS:
        setattr(place, step, mortal(getattr(place, step), fuse, one_at_a_time))
    main()
