"""A file that a browser sent, as a file in the home for as long as it is read: it may hold patients' data."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from shared.durable import write_whole
from site_node.home.folder import SiteHome

_ZIP = b"PK"  # how a workbook begins


@contextmanager
def uploaded(home: SiteHome, data: bytes) -> Iterator[Path]:
    """Yield the file, a workbook or a text by its name, which is ours; raises `DiskFull`."""
    with TemporaryDirectory(dir=home.folder, prefix=".upload-") as folder:
        file = Path(folder) / ("sheet.xlsx" if data.startswith(_ZIP) else "sheet.csv")
        write_whole(file, data, mode=0o600)
        yield file
