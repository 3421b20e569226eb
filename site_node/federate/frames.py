"""A task and its result on a socket between the node and its worker: a line of JSON, then the objects that it names."""

import json
from collections.abc import Mapping
from io import BufferedRWPair
from typing import Any

_LONGEST_LINE = 64 << 20  # bytes: a message of 1 GiB has some 200 objects, a policy some thousand pins


def write_frame(stream: BufferedRWPair, about: Mapping[str, Any], objects: Mapping[str, bytes]) -> None:
    """Write a value that JSON can hold, and objects by name in their order. Raises `OSError`."""
    sizes = [(name, len(content)) for name, content in objects.items()]
    stream.write(json.dumps({"about": about, "objects": sizes}).encode() + b"\n")
    stream.writelines(objects.values())
    stream.flush()


def read_frame(stream: BufferedRWPair) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What `write_frame` wrote. Raises `EOFError` where the other side ended first, and `OSError`."""
    line = stream.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise EOFError
    frame = json.loads(line)
    objects = {name: stream.read(size) for name, size in frame["objects"]}
    if any(len(objects[name]) != size for name, size in frame["objects"]):
        raise EOFError
    return frame["about"], objects
