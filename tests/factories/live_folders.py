"""Look into a folder in which another process makes and removes folders at the same time."""

from pathlib import Path


def paths_in(folder: Path, pattern: str) -> list[Path]:
    """What `folder.glob(pattern)` gives; where a folder is removed while it is listed, it is listed again."""
    while True:
        try:
            return list(folder.glob(pattern))
        except FileNotFoundError:
            continue
