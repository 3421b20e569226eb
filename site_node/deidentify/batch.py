"""Writing new files many at a time.

Copying a slice drives all else out of the processor's caches, so alternating between judging and copying slows both.
Files are judged in a row, and then copied in a row.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from shared.errors.studies import DicomUnsupported
from site_node.blanking import BlankBox
from site_node.deidentify.assemble import NewFile
from site_node.deidentify.blank import blank_pixels
from site_node.deidentify.output import MTIME, write_new
from site_node.deidentify.reasons import reason_of, unsupported
from site_node.reasons import reason_for
from site_node.study import DeidentifiedInstance, FileStamp, Instance, LeftOut

_MOST = 64  # files that wait to be written, each with a descriptor
_MOST_IN_MEMORY = 1 << 24  # bytes of them in memory: compressed frames and headers
LeftOuts = dict[Path, LeftOut]


class _PendingFile(NamedTuple):
    """One file that waits to be written."""

    instance: Instance
    source: int  # descriptor
    new: NewFile
    boxes: tuple[BlankBox, ...]


@contextmanager
def leaving_out(instance: Instance, left_out: LeftOuts) -> Iterator[None]:
    """Record an instance that cannot go on, and continue without it."""
    try:
        yield
    except DicomUnsupported as error:
        ending, reason = reason_of(error)
        left_out[instance.path] = LeftOut(instance=instance, ending=ending, reasons=(reason,))


class Batch:
    """The new files of one study. Use it as a context manager: at its end all are written, and none is durable yet.

    Args:
        partial: the folder that they are written into.
        out: what it will be called when the study is complete.
        left_out: receives the instances that could not be written.
    """

    def __init__(self, partial: Path, out: Path, left_out: LeftOuts) -> None:
        self.instances: list[DeidentifiedInstance] = []
        self._partial = partial
        self._out = out
        self.left_out = left_out
        self._names: set[str] = set()
        self._pending: list[_PendingFile] = []
        self._in_memory = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the rest; raises `OSError` where the disk is full. After an error nothing more is written."""
        try:
            if error is None:
                self._write_all()
        finally:
            self._close()

    def add(self, instance: Instance, source: int, new: NewFile, boxes: tuple[BlankBox, ...]) -> None:
        """Have a file written, and its original's descriptor closed. Raises `DicomUnsupported` for a used name."""
        if new.sop_instance_uid in self._names:
            raise unsupported("same-new-name", "SOPInstanceUID")
        self._names.add(new.sop_instance_uid)
        if len(self._pending) >= _MOST or self._in_memory >= _MOST_IN_MEMORY:
            self._write_all()
        self._pending.append(_PendingFile(instance, source, new, boxes))
        self._in_memory += new.bytes_in_memory

    def _write_all(self) -> None:
        for pending in self._pending:
            with leaving_out(pending.instance, self.left_out):
                self._write(pending)
                self.instances.append(_instance(pending, self._out))
        self._close()

    def _write(self, pending: _PendingFile) -> None:
        """Write one new file, whole or not at all."""
        folder = f"{self._partial}/{pending.new.series_instance_uid}"
        target = f"{folder}/{pending.new.sop_instance_uid}.dcm"
        try:
            out = write_new(pending.new, pending.source, target)
        except FileNotFoundError:
            Path(folder).mkdir(parents=True)
            out = write_new(pending.new, pending.source, target)
        try:
            if pending.boxes:
                blank_pixels(out, pending.new.before, pending.boxes)
                os.utime(out, (MTIME, MTIME))
            _check_unchanged(pending)
        except BaseException:
            Path(target).unlink()
            raise
        finally:
            os.close(out)

    def _close(self) -> None:
        files, self._pending, self._in_memory = self._pending, [], 0
        for pending in files:
            os.close(pending.source)


def _check_unchanged(pending: _PendingFile) -> None:
    """Raise `DicomUnsupported` unless a file has the size, and where it lies elsewhere the stamp, that it came with."""
    state, instance = os.fstat(pending.source), pending.instance
    if state.st_size != instance.size or instance.stamp not in {None, FileStamp.of(state)}:
        raise unsupported("changed-while-reading")


def _instance(pending: _PendingFile, out: Path) -> DeidentifiedInstance:
    return DeidentifiedInstance(
        path=Path(f"{out}/{pending.new.series_instance_uid}/{pending.new.sop_instance_uid}.dcm"),
        size=pending.new.size,
        sop_instance_uid=pending.new.sop_instance_uid,
        series_instance_uid=pending.new.series_instance_uid,
        source=pending.instance,
        notes=tuple(reason_for(code, attribute=attribute) for code, attribute in sorted(pending.new.notes)),
    )
