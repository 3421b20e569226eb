"""An item ends with its length or its delimiter, and with nothing else."""

from pathlib import Path
from struct import pack

import pytest

from shared.errors.studies import DicomUnreadable
from site_node.validate.content import contents
from site_node.validate.reader import read_document

HEAD = bytes(128) + b"DICM" + b"\x02\x00\x10\x00UI" + pack("<H", 20) + b"1.2.840.10008.1.2.1\0"
SEQUENCE, OPEN = b"\x08\x00\x18\x22SQ\0\0", pack("<L", 0xFFFFFFFF)
ITEM, ITEM_ENDS, SEQUENCE_ENDS = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0" + bytes(4), b"\xfe\xff\xdd\xe0" + bytes(4)
CODE = b"\x08\x00\x00\x01SH\x04\x00ABCD"


def sequence(content: bytes) -> bytes:
    return SEQUENCE + pack("<L", len(content)) + content


def test_what_is_whole_is_read() -> None:
    """The forms from which the others below are made."""
    for item in (ITEM + OPEN + CODE + ITEM_ENDS, ITEM + pack("<L", len(CODE)) + CODE):
        document = read_document(HEAD + sequence(item), frozenset())
        assert [element.raw for element in document.elements][-1] == b"ABCD"


@pytest.mark.parametrize(
    "item",
    [
        ITEM + OPEN + CODE,  # no delimiter: it ends with the sequence
        ITEM + pack("<L", len(CODE) + 8) + ITEM + pack("<L", len(CODE)) + CODE,  # an item in an item
        ITEM + pack("<L", len(CODE)) + CODE[:4] + b"\x08\x00" + b"ABCDEFGH",  # its element is longer
        ITEM + pack("<L", 12) + SEQUENCE + OPEN + ITEM + OPEN + CODE + ITEM_ENDS + SEQUENCE_ENDS,  # what it holds is
    ],
)
def test_an_item_that_ends_elsewhere_is_refused(item: bytes) -> None:
    """The first stage and a viewer could read something else than this one."""
    with pytest.raises(DicomUnreadable):
        read_document(HEAD + sequence(item), frozenset())


def test_files_that_were_read_are_closed(tmp_path: Path) -> None:
    """Large ones, which are hashed through windows, too."""
    large = tmp_path / "large.dcm"
    large.write_bytes(bytes(9 << 20))
    before = _open_files()
    assert sum(1 for _ in contents([large, large])) == 2
    assert _open_files() == before


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
