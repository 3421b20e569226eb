"""Private temporary folders for patient data. None outlasts its process for longer than until the next run."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from shutil import rmtree

_PREFIX = "ricord-scratch-"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which a kill frees; raises `BlockingIOError` where another process holds it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that is removed at the end of the block; what killed runs of this account left is removed first."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError), locked(left):
            rmtree(left)
    with ExitStack() as stack:
        folder = _new_folder(stack)
        stack.callback(rmtree, folder, ignore_errors=True)
        yield folder


def _new_folder(stack: ExitStack) -> Path:
    """A new folder, locked until the stack closes."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        with suppress(OSError):  # another run held it for a killed run's
            stack.enter_context(locked(folder))
            return folder
