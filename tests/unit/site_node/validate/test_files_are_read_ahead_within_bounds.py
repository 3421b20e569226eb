"""Files are read some ahead of the checks, in order, within a bound of number and bytes, and each is hashed whole."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from site_node.validate import content
from site_node.validate.content import Content, contents

WINDOW = 4096  # bytes; as small as a page, so that small files are of several


@settings(max_examples=40)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 7, 8, 9, 4095, 4096, 4097, 9000]) | st.none(), max_size=12),
    ahead=st.integers(1, 4),
    most=st.sampled_from([1, 8, 16, 5000]),
    small=st.sampled_from([0, 8, 10_000]),
)
def test_no_more_is_read_ahead_than_the_bounds_say(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int | None], ahead: int, most: int, small: int
) -> None:
    """A next file is read only while fewer wait than may and they hold fewer bytes; each comes whole and in order."""
    folder, asked = tmp_path_factory.mktemp("read"), 0
    paths = [folder / str(number) for number in range(len(sizes))]
    for path, size in zip(paths, sizes, strict=True):
        if size is not None:
            path.write_bytes(bytes(at % 251 for at in range(size)))

    def each() -> Iterator[Path]:
        nonlocal asked
        for path in paths:
            asked += 1
            yield path

    held = [min(size or 0, WINDOW) for size in sizes]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"_WINDOW": WINDOW, "_AHEAD": ahead, "_MOST_AHEAD": most, "_SMALL": small}.items():
            patch.setattr(content, name, value)
        for number, read in enumerate(contents(each())):
            waiting = range(number, number + 1)
            while len(waiting) < ahead and waiting.stop < len(sizes) and sum(held[at] for at in waiting) < most:
                waiting = range(number, waiting.stop + 1)
            assert asked <= max(waiting.stop, number + 1)
            if sizes[number] is None:
                assert isinstance(read, FileNotFoundError)
                continue
            whole = paths[number].read_bytes()
            assert isinstance(read, Content)
            assert (bytes(read.data), read.sha256) == (whole, hashlib.sha256(whole).hexdigest())
    assert number + 1 == len(sizes) if sizes else not asked
