"""A token's text carries everything, and any damage shows."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.errors.trust import TokenEmpty, TokenInvalid, TokenOfOtherKind
from shared.token import PREFIX, Addresses, Token, TokenKind, new_secret, secret_digest

TOKEN = Token(
    kind=TokenKind.JOIN,
    addresses=Addresses(enrolment="host:7443", main="host:7444"),
    federation="f",
    root_pem="-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n",
    secret=new_secret(),
)


def test_a_token_reads_back() -> None:
    """A token is read back, also with the white space that copying adds."""
    assert Token.parse(f" {TOKEN.text}\n", kind=TokenKind.JOIN) == TOKEN


def test_a_token_of_the_other_kind_is_refused() -> None:
    """An invitation does not enrol; the error names both, since either was copied whole."""
    with pytest.raises(TokenOfOtherKind) as caught:
        Token.parse(TOKEN.text, kind=TokenKind.INVITATION)
    assert "This is the join token, and here the invitation token is needed" in caught.value.public
    assert TOKEN.secret not in caught.value.public


@given(st.text())
def test_other_text_is_refused(text: str) -> None:
    """Whatever is pasted, the error is the token's, and quotes nothing of it."""
    for candidate in (text, f"RICORD1-{text}", TOKEN.text[: len(TOKEN.text) // 2] + text):
        with pytest.raises((TokenInvalid, TokenEmpty)) as caught:
            Token.parse(candidate, kind=TokenKind.JOIN)
        assert TOKEN.secret not in caught.value.public


@pytest.mark.parametrize("nothing", ["", " ", "\n"])
def test_an_empty_token_is_said_to_be_empty(nothing: str) -> None:
    """As the shell hands on a variable that was never set; it is no damaged token."""
    with pytest.raises(TokenEmpty, match="The token is empty"):
        Token.parse(nothing, kind=TokenKind.JOIN)


def test_the_secret_is_shown_nowhere() -> None:
    """The secret is neither in a repr nor in the digest that the coordinator keeps."""
    assert TOKEN.secret not in repr(TOKEN)
    assert TOKEN.secret not in secret_digest(TOKEN.secret)


def test_a_token_is_known_by_its_beginning_and_holds_a_secret() -> None:
    """Without the beginning it is none, whatever follows; nor is one whose secret could be guessed."""
    with pytest.raises(TokenInvalid):
        Token.parse(TOKEN.text.removeprefix(PREFIX), kind=TokenKind.JOIN)
    assert Token.model_validate({**dict(TOKEN), "secret": "s" * 32}).secret == "s" * 32
    with pytest.raises(ValidationError):
        Token.model_validate({**dict(TOKEN), "secret": "s" * 31})


def test_a_new_secret_has_256_bits() -> None:
    assert len(base64.urlsafe_b64decode(new_secret() + "=")) == 32
