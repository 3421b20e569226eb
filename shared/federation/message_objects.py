"""The objects as which a Flower message travels, without the copies that Flower makes of an array's bytes.

Flower copies each byte of an array four times each way, and cuts and hashes the array anew for every message that it
is in. Here a byte is copied once each way and hashed once. An adapter to Flower's internals: what travels is the same.
"""

import hashlib
import json
from collections.abc import Mapping

from flwr.app import Array, ArrayRecord, Message
from flwr.app.message.arraychunk import ArrayChunk
from flwr.common.constant import FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE as CHUNK_BYTES
from flwr.supercore.constant import HEAD_BODY_DIVIDER, HEAD_VALUE_DIVIDER
from flwr.supercore.inflatable.inflatable_object import get_object_body, get_object_head_values_from_object_content
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

KNOWN_VERSIONS = ("1.41.0", "1.42.0")


class WrittenChunk(ArrayChunk):  # type: ignore[misc] # Flower's packages are not followed by mypy
    """A piece of an array's bytes that keeps its object and the object's name; Flower makes them anew each time."""

    def __init__(self, data: memoryview) -> None:
        super().__init__(data)
        head = f"{ArrayChunk.__qualname__}{HEAD_VALUE_DIVIDER}{HEAD_VALUE_DIVIDER}{len(data)}".encode()
        self._content = b"".join((head, HEAD_BODY_DIVIDER, data))
        self._name = hashlib.sha256(self._content).hexdigest()

    def deflate(self) -> bytes:
        """The object."""
        return self._content

    @property
    def object_id(self) -> str:
        """Its SHA-256."""
        return self._name


def write_chunks(message: Message) -> None:
    """Cut the arrays of a message into chunks, before Flower does; those that were cut before stay as they are."""
    records = message.content.values() if message.has_content() else ()
    for array in (array for record in records if isinstance(record, ArrayRecord) for array in record.values()):
        if "_chunks" not in vars(array):  # where Flower keeps them, until the array changes
            data = memoryview(array.data)
            starts = range(0, len(data), CHUNK_BYTES)
            chunks = (WrittenChunk(data[start : start + CHUNK_BYTES]) for start in starts)
            vars(array)["_chunks"] = [(chunk.object_id, chunk) for chunk in chunks]


def read_message(name: str, contents: Mapping[str, bytes], *, largest: int) -> Message:
    """The message of that name.

    Raises `ValueError`, `LookupError`, `TypeError` or `AttributeError` where the contents make up none, or one whose
    arrays have more than `largest` bytes together: an array may name a chunk many times.
    """
    arrays, room = dict[str, Array](), largest
    for each, content in contents.items():
        if get_object_head_values_from_object_content(content)[0] == Array.__qualname__:
            arrays[each] = _array(content, contents, room)
            room -= len(arrays[each].data)
    message = inflate_object_from_contents(name, dict(contents), objects=arrays)
    if not isinstance(message, Message):
        raise TypeError(type(message).__name__)
    return message


def _array(content: bytes, contents: Mapping[str, bytes], room: int) -> Array:
    about = json.loads(get_object_body(content, Array))
    chunks = [_body(contents[chunk]) for chunk in get_object_head_values_from_object_content(content)[1]]
    places: list[int] = about["arraychunk_ids"]
    if set(places) != set(range(len(chunks))):
        raise ValueError("an array names other chunks than it has")
    if sum(len(chunks[place]) for place in places) > room:
        raise ValueError("arrays are larger than they may be")
    data = b"".join(chunks[place] for place in places)
    return Array(about["dtype"], tuple(about["shape"]), about["stype"], data)


def _body(content: bytes) -> memoryview:
    """The bytes in a chunk's object."""
    kind, children, _ = get_object_head_values_from_object_content(content)
    if kind != ArrayChunk.__qualname__ or children:
        raise ValueError("an array holds what is no chunk")
    return memoryview(content)[content.index(HEAD_BODY_DIVIDER) + len(HEAD_BODY_DIVIDER) :]
