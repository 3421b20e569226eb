"""Multipart answers: the parts do not depend on the chunks, and a cut answer is an error."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors.transport import PacsFailed
from site_node.network import multipart
from site_node.network.multipart import read_parts
from tests.factories.dicomweb import BOUNDARY, MULTIPART, multipart_answer

BODIES = st.lists(
    st.binary(max_size=40) | st.just(b"\r\n\r\n--\r\n") | st.just(b"\r\n--a-bound") | st.just(b"\r"), max_size=4
)
LINE_ENDS = st.sampled_from([b"\r\n", b"\n"])  # some servers leave the CR out


def pieces(body: bytes, size: int) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


@given(
    bodies=BODIES,
    size=st.integers(1, 90),
    preamble=st.sampled_from([b"", b"\r\n", b"preamble\r\n"]),
    line_end=LINE_ENDS,
)
def test_the_pieces_that_it_comes_in_change_nothing(
    bodies: list[bytes], size: int, preamble: bytes, line_end: bytes
) -> None:
    """Chunks of any size, with or without a preamble and an epilogue, and either end of lines give the same parts."""
    body = preamble + multipart_answer(*bodies, line_end=line_end).body + b"an epilogue"
    assert list(read_parts(MULTIPART, pieces(body, size))) == bodies


@given(bodies=BODIES, size=st.integers(1, 90), line_end=LINE_ENDS, data=st.data())
def test_any_cut_is_seen_and_gives_out_whole_parts_only(
    bodies: list[bytes], size: int, line_end: bytes, data: st.DataObject
) -> None:
    """Wherever an answer is cut, the parts yielded until then are parts as they were sent."""
    body = multipart_answer(*bodies, line_end=line_end).body.removesuffix(line_end)
    cut = body[: data.draw(st.integers(0, len(body) - 1))]
    yielded: list[bytes] = []
    with pytest.raises(PacsFailed):
        yielded.extend(read_parts(MULTIPART, pieces(cut, size)))  # `list.extend` keeps the items before the error
    assert yielded == bodies[: len(yielded)]


@given(bodies=BODIES, size=st.integers(1, 90))
def test_an_answer_may_end_with_its_closing_delimiter(bodies: list[bytes], size: int) -> None:
    """Not one byte need follow it (RFC 2046 5.1.1)."""
    body = multipart_answer(*bodies).body
    assert body.endswith(b"--\r\n")
    assert list(read_parts(MULTIPART, pieces(body.removesuffix(b"\r\n"), size))) == bodies


@pytest.mark.parametrize(
    "content_type",
    ["", "text/html", "application/dicom", "multipart/related", f"multipart/mixed; boundary={BOUNDARY}",
     f"multipart/related; boundary={'x' * 71}", "multipart/related; boundary="],
)  # fmt: skip
def test_what_is_no_multipart_is_refused(content_type: str) -> None:
    with pytest.raises(PacsFailed):
        list(read_parts(content_type, pieces(multipart_answer(b"x").body, 7)))


@pytest.mark.parametrize("boundary", [BOUNDARY, f'"{BOUNDARY}"'])
def test_a_boundary_may_be_quoted_and_stand_anywhere(boundary: str) -> None:
    kind = f'Multipart/Related;boundary={boundary}; type="application/dicom"'
    assert list(read_parts(kind, pieces(multipart_answer(b"x").body, 7))) == [b"x"]


def test_a_part_is_no_longer_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """One without an end is not read for ever."""
    monkeypatch.setattr(multipart, "_LONGEST_PART", 1000)
    assert list(read_parts(MULTIPART, pieces(multipart_answer(bytes(900)).body, 50))) == [bytes(900)]
    with pytest.raises(PacsFailed, match="larger"):
        list(read_parts(MULTIPART, pieces(multipart_answer(bytes(1100)).body, 50)))
