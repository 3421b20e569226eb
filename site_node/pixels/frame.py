"""Frames that are searched for text, and the stacks in which they are."""

from pathlib import Path
from typing import NamedTuple


class Frame(NamedTuple):
    """One picture of a file, counted from 0."""

    path: Path
    number: int
    declares_text: bool = False  # whether the file itself says that text is burned in


class Stack(NamedTuple):
    """Frames in the order of space or time, each searched by what is not in the frame before it.

    `before` is the frame before the first; without it, the first is searched by itself.
    """

    frames: tuple[Frame, ...]
    before: Frame | None = None
