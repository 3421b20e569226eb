"""What drafting and executing promise."""

from coordinator.agreements.text import agreement_text


def test_the_text_is_whole() -> None:
    """The text ships with the package, is plain and names what it must."""
    text = agreement_text()
    for word in ("de-identif", "licence", "withdraw", "curator", "ethics", "terminate", "amendment"):
        assert word in text.lower()
    assert text.isascii()
