"""Invitation and join tokens: one line of text that carries all a newcomer needs to trust one coordinator only.

The text is `RICORD1-` and base64url of canonical JSON: the kind, the addresses, the federation's name, its root
certificate and a secret. The coordinator keeps the secret's SHA-256 and nothing else of it.
"""

import base64
import binascii
import hashlib
import secrets
from enum import StrEnum
from types import MappingProxyType
from typing import Self

from pydantic import Field, ValidationError

from shared.errors.trust import TokenEmpty, TokenInvalid, TokenOfOtherKind
from shared.frozen import Frozen
from shared.ids import Sha256
from shared.manifest import canonical_json

PREFIX = "RICORD1-"
_SECRET_BYTES = 32


class TokenKind(StrEnum):
    """What a token allows."""

    INVITATION = "invitation"  # read and sign an agreement
    JOIN = "join"  # enrol: exchange a certificate request for a certificate


_PRINTED_BY = MappingProxyType({TokenKind.INVITATION: "site invite", TokenKind.JOIN: "agreement execute"})


class Addresses(Frozen):
    """Where the coordinator's two gRPC ports are, as `host:port`."""

    enrolment: str
    main: str


class Token(Frozen):
    """A token as its bearer holds it. `secret` never reaches a log."""

    kind: TokenKind
    addresses: Addresses
    federation: str
    root_pem: str
    secret: str = Field(repr=False, min_length=32)

    @classmethod
    def parse(cls, text: str, *, kind: TokenKind) -> Self:
        """Read a token's text; raises `TokenInvalid` when it is damaged, `TokenEmpty`, `TokenOfOtherKind`."""
        if not text.strip():
            raise TokenEmpty
        try:
            if not text.strip().startswith(PREFIX):
                raise TokenInvalid("no token prefix")
            body = text.strip().removeprefix(PREFIX)
            token = cls.model_validate_json(
                base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
            )
        except (binascii.Error, ValueError, ValidationError) as error:
            raise TokenInvalid("token text does not parse") from error
        if token.kind is not kind:
            raise TokenOfOtherKind(given=token.kind, wanted=kind, printed_by=_PRINTED_BY[kind])
        return token

    @property
    def text(self) -> str:
        """The one line a person copies."""
        return PREFIX + base64.urlsafe_b64encode(canonical_json(self)).decode().rstrip("=")


def new_secret() -> str:
    """256 random bits as text."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def secret_digest(secret: str) -> Sha256:
    """What the coordinator keeps: the secret has 256 bits of its own, so a plain SHA-256 cannot be searched."""
    return Sha256(hashlib.sha256(secret.encode()).hexdigest())
