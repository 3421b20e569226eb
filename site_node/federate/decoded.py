"""Images of the library's studies, decoded and standardised once for each size: `<home>/decoded/<size>/<digest>.npy`.

A file is named by the digest of what it was made from, and mapped into memory where it is used, so that the rounds of a
run, each in a process of its own, share it. All of it can be made again: it is bounded, files of studies that the
library no longer holds go at the next use, and `remove_study` clears everything.
"""

import contextlib
import hashlib
import io
import os
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydicom.errors import InvalidDicomError

from shared.durable import write_whole
from shared.errors.storage import DiskFull
from site_node.home.library import LibraryStudy, decoded_folder

UNREADABLE = (
    InvalidDicomError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    NotImplementedError,
    RuntimeError,
    struct.error,
)  # what pydicom and its decoders raise on a broken file
Images = npt.NDArray[np.float32]  # (n, size, size)
LARGEST = 8 << 30  # bytes kept for one size
_SIZES = 2  # whose images are kept: those used last
_VERSION = b"1"  # of how images are standardised


class Decoded(NamedTuple):
    """One study's frontal images, or its slices, and how many of its files cannot be read."""

    images: Images
    unreadable: int


class DecodedImages:
    """The images of one library in one size; `slices`: those of CT, and how many of each study."""

    def __init__(self, library: Path, size: int, slices: int | None = None) -> None:
        self._size = size
        self._root = decoded_folder(library)
        self._folder = self._root / (f"{size}" if slices is None else f"{size}-{slices}")
        self._free = LARGEST - sum(state.st_size for _, state in _present(self._folder, "*.npy"))

    def of(self, study: LibraryStudy, decode: Callable[[LibraryStudy], Decoded]) -> Decoded:
        """A study's images, as `decode` gives them where no file has them yet; on a full disk they are not kept."""
        for kept in self._folder.glob(f"{_digest(study)}*.npy"):
            try:
                images: Images = np.load(kept, mmap_mode="r")
                if images.shape[1:] == (self._size, self._size):
                    return Decoded(images, int(kept.suffixes[0][1:]))
            except (OSError, ValueError, IndexError, EOFError):  # it was cut: made again
                kept.unlink(missing_ok=True)
        decoded = decode(study)
        content = io.BytesIO()
        np.save(content, decoded.images)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if content.tell() <= self._free:
                name = f"{_digest(study)}.{decoded.unreadable}.npy"
                write_whole(self._folder / name, content.getvalue(), mode=0o600)
                self._free -= content.tell()
        except (OSError, DiskFull):
            pass
        return decoded

    def forget_all_but(self, studies: Iterable[LibraryStudy]) -> None:
        """Delete what no study of the library is any more, and the sizes that were not used last."""
        wanted = set(map(_digest, studies))
        for kept in self._folder.glob("*.npy"):
            if kept.name.partition(".")[0] not in wanted:
                kept.unlink(missing_ok=True)
        if self._folder.is_dir():
            os.utime(self._folder)
        newest_first = sorted(_present(self._root, "*"), key=lambda entry: entry[1].st_mtime, reverse=True)
        for folder, _ in newest_first[_SIZES:]:
            shutil.rmtree(folder, ignore_errors=True)


def _present(folder: Path, pattern: str) -> Iterator[tuple[Path, os.stat_result]]:
    """Each entry with its state; another training, or a withdrawal, may delete some meanwhile."""
    for path in folder.glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            yield path, path.stat()


def _digest(study: LibraryStudy) -> str:
    """Of the study and its files, as they were validated."""
    digest = hashlib.sha256(_VERSION)
    for part in (study.study, *(f"{instance.file}/{instance.sha256}" for instance in study.instances)):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()
