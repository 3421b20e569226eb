import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.crypto.archive import ArchiveReader, ArchiveWriter, Compressor
from shared.errors.studies import SealedFileInvalid


class Pieces(list[bytes]):
    """A sink that keeps the pieces it receives."""

    def write(self, data: bytes) -> None:
        self.append(data)

    def finish(self) -> None:
        self.append(b"")


def written(members: list[bytes], *, compress: bool) -> Pieces:
    pieces = Pieces()
    archive = ArchiveWriter(Compressor(pieces) if compress else pieces)
    for number, data in enumerate(members):
        archive.add(f"{number}", len(data), [data])
    archive.finish()
    return pieces


@given(st.lists(st.binary(max_size=2000), max_size=5), st.booleans(), st.integers(4, 700))
@settings(max_examples=80, deadline=None)
def test_members_come_back_however_the_stream_is_cut(members: list[bytes], compress: bool, size: int) -> None:
    """Every member is read back, compressed or not, in whatever pieces of at least four bytes the stream arrives."""
    data = b"".join(written([b"list", *members], compress=compress))
    archive = ArchiveReader(data[start : start + size] for start in range(0, len(data), size))
    assert archive.first("0", 4) == b"list"
    for number, expected in enumerate(members, start=1):
        assert b"".join(archive.member(f"{number}", len(expected))) == expected
    archive.end()


def test_a_list_longer_than_the_limit_is_not_read() -> None:
    """The reader stops at the header of a list longer than the limit; a size is in octal digits."""
    assert ArchiveReader(iter(written([b"x" * 11], compress=False))).first("0", 11) == b"x" * 11
    pieces = written([b"x" * 11], compress=False)
    archive = ArchiveReader(iter(pieces[:1]))
    with pytest.raises(SealedFileInvalid, match="does not start with 0"):
        archive.first("0", 10)


@pytest.mark.parametrize("compress", [False, True])
def test_what_is_behind_an_archive_is_finished_with_it(compress: bool) -> None:
    """Once, after the last byte."""
    pieces = written([b"list"], compress=compress)
    assert pieces[-1] == b""
    assert pieces[-2] != b""


def test_any_tar_reads_it() -> None:
    """Plain files that everybody may read, of nobody, without a time."""
    data = io.BytesIO(b"".join(written([b"list", b"image"], compress=False)))
    with tarfile.open(fileobj=data, mode="r:") as archive:
        entries = [(entry.name, entry.size, entry.mode, entry.mtime, entry.uid, entry.isreg()) for entry in archive]
    assert entries == [("0", 4, 0o444, 0, 0, True), ("1", 5, 0o444, 0, 0, True)]


def test_a_member_has_the_size_it_said() -> None:
    archive = ArchiveWriter(Pieces())
    for size in (2, 4):
        with pytest.raises(ValueError, match="size"):
            archive.add("name", size, [b"abc"])


def test_a_bomb_comes_in_small_pieces() -> None:
    """The reader never holds more than 8 MiB of a frame that expands without limit."""
    pieces = Pieces()
    compressor = Compressor(pieces)
    for _ in range(256):
        compressor.write(bytes(1 << 20))
    compressor.finish()
    archive = ArchiveReader(iter([b"".join(pieces)]))
    assert max(len(piece) for piece in archive._read(256 << 20)) <= 8 << 20
