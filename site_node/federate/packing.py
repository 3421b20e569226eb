"""A Flower message as the objects that travel, and back: an adapter to Flower's internals, as `fleet` is.

Flower moves a message as a tree of objects, each named by its SHA-256: the message, its records, their arrays, and the
arrays' pieces of 5 MiB. Nothing here touches the network, so a worker without one can use it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from flwr.app import Error, Message
from flwr.app.message.message import remove_content_from_message
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_head_values_from_object_content,
    get_object_tree,
    no_object_id_recompute,
)

from shared.errors.federation import RunRefused
from shared.federation.message_objects import read_message, write_chunks
from shared.federation.plan import ALONE, TESTS

KNOWN_VERSIONS = ("1.41.0", "1.42.0")
LARGEST_MESSAGE = 1 << 30  # bytes
REFUSED = "SITE_POLICY: "  # how the reason of a refusal begins
FAILED = "SITE_FAILED: "
_MODEL = frozenset({"Message", "RecordDict", "ConfigRecord", "ArrayRecord", "Array", "ArrayChunk"})
KINDS: Mapping[str, frozenset[str]] = {  # of message, and which objects each may hold on its way to a site
    "train": _MODEL,
    "evaluate": _MODEL,
    **dict.fromkeys(TESTS, _MODEL),
    ALONE: frozenset({"Message", "RecordDict", "ConfigRecord"}),
    "query": frozenset({"Message", "RecordDict", "ConfigRecord"}),
}


class Packed(NamedTuple):
    """A message as bytes, the way it travels."""

    head: bytes  # Flower's `Message`, without its content
    tree: bytes  # Flower's `ObjectTree`
    objects: Mapping[str, bytes]  # by name; a part stands before what it is a part of

    @property
    def size(self) -> int:
        """Bytes of all objects."""
        return sum(map(len, self.objects.values()))


def pack(message: Message) -> Packed:
    """The objects of a message; it gets its own name as its id."""
    write_chunks(message)
    message.metadata.__dict__["_message_id"] = message.object_id
    with no_object_id_recompute():
        objects = {name: each.deflate() for name, each in get_all_nested_objects(message).items()}
        tree: ObjectTree = get_object_tree(message)
    head = message_to_proto(remove_content_from_message(message)).SerializeToString()
    return Packed(head, tree.SerializeToString(), objects)


def unpack(name: str, objects: Mapping[str, bytes]) -> Message:
    """The message of that name. Raises `ValueError`, `KeyError` or `TypeError` where the objects make up none."""
    message = read_message(name, objects, largest=LARGEST_MESSAGE)
    message.metadata.__dict__["_message_id"] = name  # its own name is not part of it
    return message


def check_kind(kind: str) -> None:
    """Raise `RunRefused` where there is no such kind of message."""
    if kind not in KINDS:
        raise RunRefused(problem="there is no such kind of message")


def check_objects(kind: str, objects: Mapping[str, bytes]) -> None:
    """Raise `RunRefused` where a message of that kind holds an object that it may not; reads heads only."""
    for content in objects.values():
        object_type = get_object_head_values_from_object_content(content)[0]
        if object_type not in KINDS[kind]:
            raise RunRefused(problem=f"a {kind} message holds an object that it may not")


def refusal(message: Message, reason: str) -> Message:
    """The visible answer to a message that is refused or failed."""
    return Message(Error(code=ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason=reason), reply_to=message)
