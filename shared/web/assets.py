"""The files that pages name below `/assets/`: styles, scripts and pictures, each from a package's folder `assets`."""

from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Asset(NamedTuple):
    """A file and its kind."""

    data: bytes
    media_type: str


class Assets:
    """All assets of some packages, read once; of two with the same name the first package's counts."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._assets: dict[str, Asset] = {}
        for package in reversed(packages):
            folder = files(package).joinpath("assets")
            for file in folder.iterdir() if folder.is_dir() else ():
                media_type = next((kind for end, kind in _MEDIA_TYPES.items() if file.name.endswith(end)), None)
                if media_type is not None:
                    self._assets[file.name] = Asset(file.read_bytes(), media_type)

    def find(self, name: str) -> Asset | None:
        """The asset of that name."""
        return self._assets.get(name)
