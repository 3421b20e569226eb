"""Which texts are markers that may stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_node.pixels.allow import is_marker
from site_node.pixels.rules import load_rules

ALLOWED = load_rules().allowed


@pytest.mark.parametrize(
    "text", ["L", "R", "AP", "PA", "L AP", "PORTABLE", "AP PORTABLE", "SUPINE", "LAP", "90 CM", "80KV"]
)
def test_side_projection_position_and_one_measure_pass(text: str) -> None:
    assert is_marker(text, ALLOWED)


@pytest.mark.parametrize(
    "text", ["", "DOE", "AB", "J D", "L R", "12", "1234 CM", "PAL", "AP DOE", "5 CM 6 CM", "PORTALE"]
)
def test_everything_else_stops_the_study(text: str) -> None:
    """Names that look like a marker, initials, dates and bare numbers."""
    assert not is_marker(text, ALLOWED)


@given(st.text(alphabet="BCDEGIJKMNOQSTUVWXYZ", min_size=1, max_size=3), st.sampled_from(sorted(ALLOWED.words)))
def test_a_marker_with_something_unknown_beside_it_is_not_a_marker(unknown: str, word: str) -> None:
    """One allowed word does not vouch for the rest of the line."""
    whole = ALLOWED.words | ALLOWED.letters
    if unknown not in whole:
        assert not is_marker(f"{word} {unknown}", ALLOWED)
