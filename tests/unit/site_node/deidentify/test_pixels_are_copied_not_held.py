"""What is read of a source's pixels into memory, and what is not."""

from pathlib import Path

import pytest

from shared.errors.studies import DicomUnsupported
from site_node.deidentify.output import read_span
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
