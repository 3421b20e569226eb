"""What we write of a message is what Flower writes, and what we read is what Flower reads; nothing larger is made."""

import json
from collections.abc import Callable, Iterator

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.app.message import array as array_module
from flwr.supercore.inflatable.inflatable_object import add_header_to_object_body, get_all_nested_objects, get_object_id
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.federation import message_objects
from shared.federation.message_objects import read_message, write_chunks

CHUNK = 4  # bytes
LARGEST = 1 << 20
DATA = st.lists(st.binary(max_size=3 * CHUNK + 1) | st.integers(0, 5).map(lambda n: bytes(n * CHUNK)), max_size=4)


@pytest.fixture(scope="module", autouse=True)
def small_chunks() -> Iterator[None]:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 0, 0, 1  # with which messages are stamped
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(message_objects, "CHUNK_BYTES", CHUNK)
        patch.setattr(array_module, "FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE", CHUNK)
        yield


def message_of(data: list[bytes]) -> Message:
    arrays = ArrayRecord({str(n): Array("uint8", (len(each),), "bytes", each) for n, each in enumerate(data)})
    content = RecordDict({"arrays": arrays, "config": ConfigRecord({"number": 1})})
    return Message(content, dst_node_id=2, message_type="train")


def objects_of(message: Message) -> dict[str, bytes]:
    return {name: each.deflate() for name, each in get_all_nested_objects(message).items()}


@settings(deadline=None)
@given(data=DATA)
def test_what_is_written_is_what_flower_writes(data: list[bytes]) -> None:
    """The same objects under the same names, in the same order, however often a chunk is repeated."""
    message = message_of(data)
    flowers = objects_of(message)
    for array in message.content["arrays"].values():
        vars(array).pop("_chunks", None)
    write_chunks(message)
    ours = objects_of(message)
    assert list(ours.items()) == list(flowers.items())
    assert all(get_object_id(content) == name for name, content in ours.items())


@settings(deadline=None)
@given(data=DATA)
def test_what_is_read_is_what_flower_reads(data: list[bytes]) -> None:
    """Every array with its type, shape and bytes, and every other record."""
    message = message_of(data)
    write_chunks(message)
    contents, name = objects_of(message), message.object_id
    ours, flowers = read_message(name, contents, largest=LARGEST), inflate_object_from_contents(name, dict(contents))
    assert ours.content == flowers.content == message.content
    assert ours.metadata == flowers.metadata


def test_a_chunk_is_written_once_for_all_messages() -> None:
    """A further message with the same array has the same chunks; an array that changed is cut anew."""
    first = message_of([b"abcdefgh"])
    write_chunks(first)
    array = first.content["arrays"]["0"]
    before = array.slice_array()
    write_chunks(Message(first.content, dst_node_id=3, message_type="train"))
    assert array.slice_array() is before
    array.data = b"ijkl"
    write_chunks(first)
    assert [chunk.deflate()[-CHUNK:] for _, chunk in array.slice_array()] == [b"ijkl"]


def test_an_array_is_not_larger_than_it_may_be() -> None:
    """A small message that names its chunk a thousand times makes no large array; one byte less is the limit."""
    message = message_of([bytes(1000 * CHUNK), b"xy"])
    contents, name = objects_of(message), message.object_id
    size = 1000 * CHUNK + 2
    assert read_message(name, contents, largest=size).content == message.content
    with pytest.raises(ValueError, match="larger"):
        read_message(name, contents, largest=size - 1)


Change = Callable[[dict[str, object]], object]


@pytest.mark.parametrize(
    ("change", "child"),
    [
        (lambda about: about.update(arraychunk_ids=[0]), None),  # a chunk that is not named
        (lambda about: about.update(arraychunk_ids=[0, 1, 2]), None),  # one that is not there
        (lambda about: about.update(arraychunk_ids=[-1, 0]), None),
        (lambda about: about.update(arraychunk_ids=[[0], 1]), None),
        (lambda about: about.pop("arraychunk_ids"), None),
        (lambda about: about.pop("shape"), None),
        (lambda about: about.update(shape=1), None),
        (lambda about: None, "ConfigRecord"),  # what is no chunk
        (lambda about: None, ""),  # what is not there
    ],
)
def test_what_is_no_array_is_refused(change: Change, child: str | None) -> None:
    """As what makes up no message, whatever of it is wrong."""
    message = message_of([b"abcdefg"])
    [array] = message.content["arrays"].values()
    names = [name for name, _ in array.slice_array()]
    contents = objects_of(message)
    about: dict[str, object] = {"dtype": "uint8", "shape": [7], "stype": "bytes", "arraychunk_ids": [0, 1]}
    change(about)
    if child is not None:
        config = message.content["config"]
        names[0] = config.object_id if child else "0" * 64
    head = f"Array {','.join(names)} {len(json.dumps(about))}".encode()
    contents[array.object_id] = head + b"\x00" + json.dumps(about).encode()
    with pytest.raises((ValueError, KeyError, TypeError)):
        read_message(message.object_id, contents, largest=LARGEST)


def test_what_is_no_message_is_refused() -> None:
    """A record by itself, or a name that is not there."""
    record = ConfigRecord({"number": 1})
    contents = {record.object_id: add_header_to_object_body(record.deflate().partition(b"\x00")[2], record)}
    with pytest.raises(TypeError):
        read_message(record.object_id, contents, largest=LARGEST)
    with pytest.raises(KeyError):
        read_message("0" * 64, contents, largest=LARGEST)


def test_a_written_chunk_is_flowers_with_its_bytes() -> None:
    """Whatever of Flower asks for them."""
    message = message_of([b"abcdefgh"])
    write_chunks(message)
    [array] = message.content["arrays"].values()
    chunks = [chunk for _, chunk in array.slice_array()]
    assert [bytes(chunk.data) for chunk in chunks] == [b"abcd", b"efgh"]
