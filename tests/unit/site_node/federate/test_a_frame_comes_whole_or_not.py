"""What node and worker say to one another arrives as it was said, or as an end: never a part of it."""

from io import BufferedRWPair, BytesIO
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_node.federate.frames import read_frame, write_frame

ABOUT = st.dictionaries(st.text(max_size=5), st.none() | st.integers(-9, 9) | st.text(max_size=5), max_size=3)
OBJECTS = st.dictionaries(st.text(max_size=5), st.binary(max_size=20), max_size=4)


def written(*frames: tuple[dict[str, object], dict[str, bytes]]) -> bytes:
    stream = BytesIO()
    for about, objects in frames:
        write_frame(cast("BufferedRWPair", stream), about, objects)
    return stream.getvalue()


def stream_of(data: bytes) -> BufferedRWPair:
    return cast("BufferedRWPair", BytesIO(data))


@given(st.lists(st.tuples(ABOUT, OBJECTS), min_size=1, max_size=3))
def test_frames_come_back_in_their_order(frames: list[tuple[dict[str, object], dict[str, bytes]]]) -> None:
    """One after the other, each object by its name; then the stream ends."""
    stream = stream_of(written(*frames))
    for about, objects in frames:
        back, held = read_frame(stream)
        assert (back, held) == (about, objects)
        assert list(held) == list(objects)
    with pytest.raises(EOFError):
        read_frame(stream)


def test_a_frame_that_is_cut_short_is_an_end() -> None:
    """Wherever it is cut: in its line, or in one of its objects."""
    whole = written(({"kind": "train"}, {"a": b"12345", "b": b"678"}))
    for length in range(len(whole)):
        with pytest.raises(EOFError):
            read_frame(stream_of(whole[:length]))
    assert read_frame(stream_of(whole))[1] == {"a": b"12345", "b": b"678"}


def test_a_line_that_has_no_end_is_not_read_for_ever() -> None:
    """A worker that was taken over could send one."""
    with pytest.raises(EOFError):
        read_frame(stream_of(b" " * ((64 << 20) + 1) + b"\n"))
