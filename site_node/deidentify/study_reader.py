"""Reading a study's files twice: for what they name, and to be rewritten, from memory where they have not changed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.protocol.profile import Profile
from site_node.deidentify import fast_reader, pydicom_reader
from site_node.deidentify.context import study_identifiers
from site_node.deidentify.reasons import unsupported
from site_node.deidentify.series_cache import SeriesCache
from site_node.dicom.elements import ParsedFile, Span
from site_node.study import Identity

_Stamp = tuple[int, ...]  # which file, and as of when
_CACHE_BYTES = 1 << 23  # of headers between the two rounds
_RUN_OVERHEAD = 512  # bytes of objects around the bytes of a run


class StudyReader:
    """Reads the files of one study and gathers what they name. Its methods raise `DicomUnsupported`."""

    def __init__(self, profile: Profile, identity: Identity) -> None:
        self.cache = SeriesCache()
        self.names = study_identifiers(profile, identity)
        self._reading = self.cache.reading(profile)
        self._headers = _HeaderCache()

    def read(self, file: int, path: Path, *, slow: bool = False) -> ParsedFile:
        """One file as the fast reader parses it, or the slow one if only that can."""
        try:
            parsed = None if slow else fast_reader.read_source(file, self._reading)
            return parsed or pydicom_reader.read_source(path, self._reading.sequences)
        except (OSError, ValueError, RecursionError, MemoryError) as error:
            raise unsupported("not-readable") from error

    def collect_names(self, path: Path) -> None:
        """The first round: what one file names."""
        with opened(path) as file:
            parsed = self.read(file, path)
            self.names.collect(parsed)
            self._headers.keep(file, parsed)

    def read_again(self, file: int, path: Path) -> ParsedFile:
        """The second round: one file, if it names nothing that the first round did not meet."""
        parsed = self._headers.pop(file)
        if parsed is None:
            parsed = self.read(file, path)
            if not self.names.cover(parsed):
                raise unsupported("changed-while-reading")
        return parsed


class _HeaderCache:
    """Headers that the first round read, within a bounded memory, of files that have not changed since."""

    def __init__(self) -> None:
        self._files: dict[_Stamp, ParsedFile] = {}
        self._known: set[int] = set()  # ids of runs, which several files may share
        self._bytes_left = _CACHE_BYTES

    def keep(self, file: int, parsed: ParsedFile) -> None:
        """Keep what was read of a file if there is room."""
        if self._bytes_left <= 0 or not isinstance(parsed.pixels, Span):
            return
        for run in parsed.runs:
            if id(run) not in self._known:
                self._known.add(id(run))
                self._bytes_left -= _RUN_OVERHEAD + len(run.raw)
        self._files[_stamp(file)] = parsed

    def pop(self, file: int) -> ParsedFile | None:
        """Remove and return what was read of the file; None if it was not kept or the file has changed."""
        return self._files.pop(_stamp(file), None)


def _stamp(file: int) -> _Stamp:
    state = os.fstat(file)
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """The descriptor of a source, closed at the end; raises as `open_source` does."""
    file = open_source(path)
    try:
        yield file
    finally:
        os.close(file)


def open_source(path: Path) -> int:
    """The descriptor of a source, open for reading; raises `DicomUnsupported`."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise unsupported("not-readable") from error
