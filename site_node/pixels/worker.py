"""The process in which frames are decoded and the models run: `python -m site_node.pixels.worker`.

One JSON object a line, in and out. It writes `{"ready": true}` first, or `{"problem": code}` and ends. A request is a
stack, `{"frames": [{"path", "frame", "said", "picture"}, ...], "before": {"path", "frame"} or null}` (`said`: the file
declares burned-in text). It answers `{"frames": [...]}`, for each `{"boxes": [[left, top, right, bottom], ...]}` or
`{"problem": code}`. Where there are boxes or `said` is true, it draws the frame to `picture` first. It never writes the
text it read, opens no connection, and ends with its input.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from shared.errors import PixelCheckFailed, PixelCheckUnavailable, PixelsUnreadable, RicordError
from site_node.pixels.contrast import Stored
from site_node.pixels.detect import TextFinder
from site_node.pixels.frame import Frame
from site_node.pixels.frames import photometric, read_values
from site_node.pixels.picture import draw_picture
from site_node.pixels.rules import load_rules


def main() -> None:
    """Answer requests until the input ends."""
    sys.addaudithook(_offline)
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not be read as an answer
        for answer in _answers(sys.stdin.buffer):
            answers.write(json.dumps(answer).encode() + b"\n")
            answers.flush()


def _answers(requests: BinaryIO) -> Iterator[dict[str, Any]]:
    try:
        finder = TextFinder(load_rules())
    except RicordError as error:
        yield {"problem": error.code}
        return
    except Exception:  # noqa: BLE001 -- a model or library that does not load, for whatever reason
        yield {"problem": PixelCheckUnavailable().code}
        return
    yield {"ready": True}
    for line in requests:
        yield _answer(finder, json.loads(line))


def _answer(finder: TextFinder, request: dict[str, Any]) -> dict[str, Any]:
    """The answer to one request; no exception leaves, because its text may quote values."""
    frames, before = request["frames"], request["before"]
    read = {number: _values(frame) for number, frame in enumerate(frames)} | {-1: _values(before) if before else None}
    shown = {number: values for number, values in sorted(read.items()) if values is not None}
    answers: list[dict[str, Any]] = [{"problem": PixelsUnreadable().code}] * len(frames)
    try:
        texts = finder.find_in_stack(list(shown.values()), first=-1 not in shown) if shown else []
        boxes = dict(zip(shown, texts, strict=True))
        for number, values in shown.items():
            if number >= 0:
                frame = frames[number]
                if (boxes[number] or frame["said"]) and frame["picture"]:
                    draw_picture(values, boxes[number], Path(frame["picture"]), inverted=_inverted(frame))
                answers[number] = {"boxes": boxes[number]}
    except Exception:  # noqa: BLE001 -- as the docstring says; the client makes it a study that a person must see
        return {"problem": PixelCheckFailed().code}
    return {"frames": answers}


def _values(frame: dict[str, Any]) -> Stored | None:
    """A frame's values; `None` where it cannot be read."""
    try:
        return read_values(Frame(Path(frame["path"]), frame["frame"]))
    except PixelsUnreadable:
        return None


def _inverted(frame: dict[str, Any]) -> bool:
    return photometric(Frame(Path(frame["path"]), frame["frame"])) == "MONOCHROME1"


def _offline(event: str, _arguments: tuple[object, ...]) -> None:
    """Refuse connections and look-ups that Python code would make; the models and their wheel need none."""
    if event in {"socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto"}:
        raise PermissionError


if __name__ == "__main__":
    main()
