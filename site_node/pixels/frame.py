"""Frames that are searched for text, and the stacks in which they are."""

from pathlib import Path
from typing import NamedTuple


class Frame(NamedTuple):
    """One picture of a file, counted from 0."""

    path: Path
    number: int
    photometric: str = "MONOCHROME2"  # how its values are meant: PS3.3 C.7.6.3.1.2
    declares_text: bool = False  # whether the file itself says that text is burned in


class Stack(NamedTuple):
    """Frames in the order of space or time, each searched by what is not in the frames beside it.

    `before` and `after` are the frames beside the first and the last, which without them are searched by themselves.
    """

    frames: tuple[Frame, ...]
    before: Frame | None = None
    after: Frame | None = None
