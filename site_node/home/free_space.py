"""Free space on the disk: below the reserve nothing is received, fetched or processed.

Sealed studies are still sent, since sending frees space; receipts and ledger use the reserve meanwhile.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shared.errors.storage import DiskNearlyFull


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class FreeSpace:
    """The disk that `folder` lies on, of which `reserve_mb` MiB stay free. `free` returns the free bytes."""

    folder: Path
    reserve_mb: int
    free: Callable[[Path], int] = _free

    def shortage(self) -> DiskNearlyFull | None:
        """The error to report while there is too little space; `None` where there is enough."""
        if self.free(self.folder) >= self.reserve_mb << 20:
            return None
        return DiskNearlyFull(folder=str(self.folder), least=str(self.reserve_mb))

    def check(self) -> None:
        """Raise `DiskNearlyFull` while there is too little space."""
        if shortage := self.shortage():
            raise shortage
