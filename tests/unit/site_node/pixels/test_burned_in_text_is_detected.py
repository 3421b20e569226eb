"""Text burned into films is found by the real models; markers and anatomy are not taken for text."""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from compose.sample import films
from site_node.pixels.detect import Line, TextFinder, findings
from site_node.pixels.regions import Region
from site_node.pixels.rules import load_rules

pytestmark = pytest.mark.slow

RULES = load_rules()
PLACES = {"top left": (0.04, 0.03), "bottom": (0.3, 0.9)}


@cache
def finder() -> TextFinder:
    return TextFinder(RULES)


def film(size: int, seed: int, *marks: tuple[str, tuple[float, float], float]) -> NDArray[np.uint8]:
    image = films.frontal(np.random.default_rng(seed), size, positive=bool(seed % 2))
    for text, place, height in marks:
        image = films.mark(image, text, place, height)
    return (image * 255).astype(np.uint8)


@pytest.mark.parametrize("size", [256, 512])
@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("text", ["DOE JANE 1961", "MRN 7731904"])
def test_a_name_or_number_is_found(size: int, place: str, text: str) -> None:
    """At the height of a twentieth of the film, as stations burn it in."""
    assert finder().find(film(size, 3, (text, PLACES[place], 0.05)))


def test_a_name_is_found_on_a_large_film() -> None:
    """Detection at half size still finds letters of 40 pixels on 2500 x 2048."""
    assert finder().find(film(2048, 4, ("DOE JANE 1961", PLACES["top left"], 0.02)))


@pytest.mark.parametrize("seed", range(8))
def test_a_film_with_nothing_but_a_side_marker_passes(seed: int) -> None:
    """One letter of lead is on every film; a study must not wait for a person because of it."""
    marker = ("L" if seed % 2 else "R", (0.06, 0.06), 0.06)
    assert not finder().find(film(256, seed, marker))


def line(text: str, score: float, x: float, *, width: float = 10, height: float = 10) -> Line:
    corners = np.array([(x, 50), (x + width, 50), (x + width, 50 + height), (x, 50 + height)], dtype=np.float32)
    return Line(Region(corners, 0.9), text, score, 0.0)


def test_few_single_letters_pass_and_several_do_not() -> None:
    """One letter names nobody; spaced letters may be a name, and so may many."""
    assert not findings([line("", 0.1, 20)], (256, 256), RULES)
    assert not findings([line("", 0.1, 20), line("8", 0.3, 200)], (256, 256), RULES)
    assert findings([line("D", 0.9, 20), line("O", 0.9, 38), line("E", 0.9, 56)], (256, 256), RULES)
    assert findings([line("D", 0.9, 20), line("O", 0.9, 120), line("E", 0.9, 220)], (256, 256), RULES)


def test_a_letter_beside_unknown_text_does_not_pass() -> None:
    """A letter beside a name belongs to it."""
    texts = findings([line("", 0.1, 20), line("DOE", 0.9, 40, width=30)], (256, 256), RULES)
    assert len(texts) == 2


def test_two_letters_read_for_certain_are_text() -> None:
    """Initials are not a single glyph, however narrow."""
    assert findings([line("JD", 0.95, 20, width=15)], (256, 256), RULES)


def test_a_letter_read_in_a_long_box_is_no_marker() -> None:
    """The reader knows few scripts, and reads now and then one letter where there are many."""
    assert not findings([line("L", 0.9, 20)], (256, 256), RULES)
    assert findings([line("L", 0.9, 20, width=50)], (256, 256), RULES)
    assert not findings([line("PORTABLE", 0.9, 20, width=50)], (256, 256), RULES)


@pytest.mark.parametrize(("width", "score", "seen"), [(100, 0.5, True), (100, 0.1, False), (60, 0.5, False)])
def test_huge_letters_in_a_long_box_that_read_as_something_are_text(width: float, score: float, *, seen: bool) -> None:
    """A box as high as a rib or lobe, of which the detector is not sure, must be both long and read as letters."""
    text = line("ab", score, 20, width=width, height=20)
    unsure = text._replace(region=text.region._replace(score=0.7))
    assert bool(findings([unsure], (256, 256), RULES)) is seen
