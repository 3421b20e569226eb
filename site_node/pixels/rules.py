"""What counts as text and which text may stay: `shared/protocol/data/pixels/ricord.toml`, read once."""

from functools import cache
from importlib.resources import files

from pydantic import Field

from shared.frozen import Frozen
from shared.protocol.parts import parse_part

_FILE = "data/pixels/ricord.toml"


class Detection(Frozen):
    """Sizes in pixels of the stored image; scores 0 to 1."""

    side: int = Field(ge=64)
    enlarged: float = Field(ge=1, le=4)
    stroke: int = Field(ge=3)
    margin: float = Field(ge=0, le=1)
    margin_ends: float = Field(ge=0, le=4)
    box_score: float = Field(gt=0, lt=1)
    smallest_height: int = Field(ge=1)
    unread_height: int = Field(ge=1)
    unread_score: float = Field(gt=0, lt=1)
    blank_reading: float = Field(ge=0, lt=1)
    blank_aspect: float = Field(ge=1)
    blank_score: float = Field(gt=0, lt=1)
    noise_height: int = Field(ge=1)
    noise_score: float = Field(gt=0, lt=1)
    read_score: float = Field(gt=0, lt=1)


class Anatomy(Frozen):
    """Heights are fractions of the image's short side; see the file."""

    height: float = Field(gt=0, le=1)
    read_score: float = Field(gt=0, lt=1)
    low_height: float = Field(gt=0, le=1)
    low_score: float = Field(gt=0, lt=1)


class Glyph(Frozen):
    """Up to `most` boxes no longer than `aspect` heights, with nothing unknown within `apart` heights, are not text."""

    aspect: float = Field(ge=1, le=2)
    most: int = Field(ge=0, le=4)
    apart: float = Field(ge=1)


class Allowed(Frozen):
    """The markers that pass; all in capitals."""

    letters: frozenset[str]
    words: frozenset[str]
    units: frozenset[str]
    doubtful: frozenset[str]
    edge: float = Field(gt=0, le=0.5)
    most_words: int = Field(ge=1)


class PixelRules(Frozen):
    """The whole file."""

    edition: str
    detection: Detection
    anatomy: Anatomy
    glyph: Glyph
    allowed: Allowed


@cache
def load_rules() -> PixelRules:
    """The rules this package ships; raises `ProtocolInvalid`."""
    text = files("shared.protocol").joinpath(_FILE).read_text(encoding="utf-8")
    return parse_part(text, PixelRules, file=_FILE)
