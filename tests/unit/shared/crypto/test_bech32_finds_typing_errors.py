import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.crypto import bech32


@given(st.binary(max_size=200), st.text("abcdefghijklmnopqrstuvwxyz-1", min_size=1, max_size=20))
def test_text_returns_its_bytes_in_either_case(data: bytes, prefix: str) -> None:
    text = bech32.encode(prefix, data)
    assert bech32.decode(text) == bech32.decode(text.upper()) == (prefix, data)


@given(st.binary(max_size=60), st.data())
def test_one_wrong_character_is_found(data: bytes, draw: st.DataObject) -> None:
    text = bech32.encode("age", data)
    where = draw.draw(st.integers(4, len(text) - 1))
    other = draw.draw(st.sampled_from(bech32._ALPHABET).filter(lambda character: character != text[where]))
    with pytest.raises(ValueError, match="checksum"):
        bech32.decode(text[:where] + other + text[where + 1 :])


def test_the_examples_of_bip_173() -> None:
    assert bech32.decode("A12UEL5L") == ("a", b"")
    assert (
        bech32.decode("an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs")[1]
        == b""
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not Bech32"),
        ("1", "not Bech32"),
        ("pzry9x0s0muk", "not Bech32"),  # no separator
        ("1pzry9x0s0muk", "not Bech32"),  # empty prefix
        ("x1b4n0q5v", "not Bech32"),  # wrong character
        ("li1dgmt3", "not Bech32"),  # checksum too short
        ("A1G7SGD8", "wrong checksum"),  # checksum of the upper-case prefix
        ("A12uEL5L", "mixed case"),
        ("age1q9w2x2l4", "wrong checksum"),
        ("é1qqqqqq", "mixed case"),  # not ASCII
    ],
)
def test_what_is_not_bech32_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        bech32.decode(text)


def test_left_over_bits_must_be_zero_and_few() -> None:
    """Two characters hold ten bits: a byte and two spare bits, which must be zero."""
    good = bech32.encode("age", b"\0")
    assert good.startswith("age1qq")
    for values in ([0], [0, 1], [0, 0, 0]):
        check = bech32._polymod([*bech32._expanded("age"), *values, *[0] * 6]) ^ 1
        tail = [(check >> 5 * (5 - place)) & 31 for place in range(6)]
        with pytest.raises(ValueError, match="left-over"):
            bech32.decode("age1" + "".join(bech32._ALPHABET[value] for value in [*values, *tail]))
