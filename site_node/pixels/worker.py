"""The process in which frames are decoded and the models run: `python -m site_node.pixels.worker`.

One JSON object a line, in and out. It writes `{"ready": true}` first, or `{"problem": code}` and ends. A request is a
stack, `{"frames": [{"path", "frame", "photometric", "said", "wanted", "picture"}, ...]}` (`said`: the file declares
burned-in text; not `wanted`: the frame of a stack beside it). It answers `{"frames": [...]}`, for each wanted frame
`{"boxes": [[left, top, right, bottom], ...]}` or `{"problem": code}`. Where there are boxes or `said` is true, it draws
the frame to `picture` first. It never writes the text it read, opens no connection, and ends with its input.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

if __name__ == "__main__":
    unneeded: Any = dict.fromkeys(("requests", "tqdm"))  # pydicom loads both where it can, to fetch sample files
    sys.modules |= unneeded

from shared.errors.base import RicordError
from shared.errors.settings import PixelCheckUnavailable
from shared.errors.studies import PixelCheckFailed, PixelsUnreadable
from site_node.pixels.contrast import Stored
from site_node.pixels.detect import TextFinder
from site_node.pixels.frame import Frame
from site_node.pixels.frames import read_values
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
    asked: list[dict[str, Any]] = request["frames"]
    frames = [Frame(Path(each["path"]), each["frame"], each["photometric"], each["said"]) for each in asked]
    values = [_values(frame) for frame in frames]
    shown = {number: stored for number, stored in enumerate(values) if stored is not None}
    wanted = {place for place, number in enumerate(shown) if asked[number]["wanted"]}
    answers: list[dict[str, Any]] = [{"problem": PixelsUnreadable().code}] * len(frames)
    try:
        texts = finder.find_in_stack(list(shown.values()), wanted) if shown else []
        for (number, stored), boxes in zip(shown.items(), texts, strict=True):
            if (boxes or frames[number].declares_text) and asked[number]["picture"]:
                draw_picture(stored, boxes, Path(asked[number]["picture"]), frames[number].photometric)
            answers[number] = {"boxes": boxes}
    except Exception:  # noqa: BLE001 -- as the docstring says; the client makes it a study that a person must see
        return {"problem": PixelCheckFailed().code}
    return {"frames": [answer for answer, each in zip(answers, asked, strict=True) if each["wanted"]]}


def _values(frame: Frame) -> Stored | None:
    """A frame's values; `None` where it cannot be read."""
    try:
        return read_values(frame)
    except PixelsUnreadable:
        return None


def _offline(event: str, _arguments: tuple[object, ...]) -> None:
    """Refuse connections and look-ups that Python code would make; the models and their wheel need none."""
    if event in {"socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto"}:
        raise PermissionError


if __name__ == "__main__":
    main()
