"""FreeSpace on the disk: below the reserve nothing is taken in, fetched or worked on, until there is room again.

What is sealed is still sent, since that gives room back; receipts and ledger live from the reserve meanwhile.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shared.errors import DiskNearlyFull


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class FreeSpace:
    """The disk that `folder` lies on, of which `reserve_mb` MiB stay free. `free` says how many bytes there are."""

    folder: Path
    reserve_mb: int
    free: Callable[[Path], int] = _free

    def shortage(self) -> DiskNearlyFull | None:
        """What is to be told while there is too little room; `None` where there is enough."""
        if self.free(self.folder) >= self.reserve_mb << 20:
            return None
        return DiskNearlyFull(folder=str(self.folder), least=str(self.reserve_mb))

    def check(self) -> None:
        """Raise `DiskNearlyFull` while there is too little room."""
        if shortage := self.shortage():
            raise shortage
