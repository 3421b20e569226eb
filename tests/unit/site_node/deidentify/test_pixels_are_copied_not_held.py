"""What is read of a source's pixels into memory, and what is not."""

import errno
import os
from pathlib import Path

import pytest

from shared.errors.studies import DicomUnsupported
from shared.ids import Uid
from site_node.deidentify.assemble import NewFile
from site_node.deidentify.output import MTIME, read_span, write_new
from site_node.dicom.elements import Span


def test_compressed_frames_that_do_not_fit_are_refused_before_they_are_read(tmp_path: Path) -> None:
    """A sparse file of 5 GB is refused as too large at once, not as changed."""
    file = tmp_path / "large"
    with file.open("wb") as out:
        out.truncate(5 << 30)
    with file.open("rb") as source, pytest.raises(DicomUnsupported) as caught:
        read_span(source.fileno(), Span(0, 5 << 30))
    assert caught.value.fields["code"] == "too-large"


def test_a_span_past_the_end_says_that_the_file_changed(tmp_path: Path) -> None:
    """The header was read a moment ago and promised more."""
    file = tmp_path / "short"
    file.write_bytes(b"abc")
    with file.open("rb") as source:
        assert read_span(source.fileno(), Span(1, 2)) == b"bc"
        with pytest.raises(DicomUnsupported):
            read_span(source.fileno(), Span(1, 3))


@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize("step", [1, 700, 1 << 20])
def test_pixels_are_copied_whole_on_any_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, knows: bool, step: int
) -> None:
    """Whether or not it copies by itself, and however little it copies at once; a source that ends leaves no file."""
    content = bytes(range(256)) * 8
    (tmp_path / "source").write_bytes(content)

    def copies(source: int, out: int, count: int, offset_src: int) -> int:
        if not knows:
            raise OSError(errno.EXDEV, "another file system")
        return os.write(out, os.pread(source, min(step, count), offset_src))

    monkeypatch.setattr(os, "copy_file_range", copies)
    new = NewFile(b"before", Span(256, 1024), b"after", Uid("1.2"), Uid("1.3"))
    with (tmp_path / "source").open("rb") as source:
        os.close(write_new(new, source.fileno(), str(tmp_path / "new")))
        assert (tmp_path / "new").read_bytes() == b"before" + content[256:1280] + b"after"
        assert (tmp_path / "new").stat().st_mtime == MTIME
        cut = new._replace(pixels=Span(256, len(content)))
        with pytest.raises(DicomUnsupported):
            write_new(cut, source.fileno(), str(tmp_path / "cut"))
    assert not (tmp_path / "cut").exists()
