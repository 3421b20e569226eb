"""Writing new files many at a time.

Copying a slice drives all else out of the processor's caches, so judging one file and copying the next in turn makes
both slow. Files are judged in a row, and then copied in a row.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from shared.errors import DicomUnsupported
from site_node.blanking import BlankBox
from site_node.deidentify.assemble import NewFile
from site_node.deidentify.blank import blank_pixels
from site_node.deidentify.output import Durable, write_new
from site_node.deidentify.reasons import reason_of, unsupported
from site_node.study import DeidentifiedInstance, Instance, LeftOut

_MOST = 64  # files that wait to be written, each with a descriptor
_MOST_HELD = 1 << 24  # bytes of them that are in memory: what is compressed, and the headers
LeftOuts = dict[Path, LeftOut]


class _Judged(NamedTuple):
    """One file that may be written."""

    instance: Instance
    source: int  # descriptor
    new: NewFile
    boxes: tuple[BlankBox, ...]


@contextmanager
def leaving_out(instance: Instance, left_out: LeftOuts) -> Iterator[None]:
    """Note an instance that cannot go on, and go on without it."""
    try:
        yield
    except DicomUnsupported as error:
        ending, reason = reason_of(error)
        left_out[instance.path] = LeftOut(instance=instance, ending=ending, reasons=(reason,))


class Batch:
    """The new files of one study. Use as a context manager: at its end all are written and durable.

    Args:
        partial: the folder that they are written into.
        out: what it will be called when the study is complete.
        left_out: takes the instances of which nothing could be written.
    """

    def __init__(self, partial: Path, out: Path, left_out: LeftOuts) -> None:
        self.done: list[DeidentifiedInstance] = []
        self._partial = partial
        self._out = out
        self._left_out = left_out
        self._names: set[str] = set()
        self._waiting: list[_Judged] = []
        self._held = 0
        self._durable = Durable()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the rest; raises `OSError` where the disk is full. After an error nothing more is written."""
        with ExitStack() as stack:
            stack.push(self._durable)
            stack.callback(self._close)
            if error is None:
                self._write_all()

    def take(self, instance: Instance, source: int, new: NewFile, boxes: tuple[BlankBox, ...]) -> None:
        """Have a file written, and its original's descriptor closed. Stops where a name is there already."""
        if new.sop_instance_uid in self._names:
            raise unsupported("same-new-name", "SOPInstanceUID")
        self._names.add(new.sop_instance_uid)
        if len(self._waiting) >= _MOST or self._held >= _MOST_HELD:
            self._write_all()
        self._waiting.append(_Judged(instance, source, new, boxes))
        self._held += new.held

    def _write_all(self) -> None:
        for one in self._waiting:
            with leaving_out(one.instance, self._left_out):
                self._durable.take(self._write(one), one.new.size)
                self.done.append(_done(one, self._out))
        self._close()

    def _write(self, one: _Judged) -> int:
        """Write one new file; its descriptor."""
        folder = f"{self._partial}/{one.new.series_instance_uid}"
        target = f"{folder}/{one.new.sop_instance_uid}.dcm"
        try:
            out = write_new(one.new, one.source, target)
        except FileNotFoundError:
            Path(folder).mkdir(parents=True)
            out = write_new(one.new, one.source, target)
        try:
            if one.boxes:
                blank_pixels(out, one.new.before, one.boxes)
            _check_size(one)
        except BaseException:
            os.close(out)
            Path(target).unlink()
            raise
        return out

    def _close(self) -> None:
        waiting, self._waiting, self._held = self._waiting, [], 0
        for one in waiting:
            os.close(one.source)


def _check_size(one: _Judged) -> None:
    """Stops unless a file is still as large as it was received."""
    if os.fstat(one.source).st_size != one.instance.size:
        raise unsupported("changed-while-reading")


def _done(one: _Judged, out: Path) -> DeidentifiedInstance:
    return DeidentifiedInstance(
        path=Path(f"{out}/{one.new.series_instance_uid}/{one.new.sop_instance_uid}.dcm"),
        size=one.new.size,
        sop_instance_uid=one.new.sop_instance_uid,
        series_instance_uid=one.new.series_instance_uid,
        source=one.instance,
    )
