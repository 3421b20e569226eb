"""A frame that is searched for text."""

from pathlib import Path
from typing import NamedTuple


class Frame(NamedTuple):
    """One picture of a file, counted from 0."""

    path: Path
    number: int
    declares_text: bool = False  # whether the file itself says that text is burned in
