"""Invitation and join tokens on the coordinator's side: stored as a digest, valid once and for a limited time."""

from datetime import datetime, timedelta
from typing import NamedTuple

from coordinator.home.identity import Identity
from coordinator.store.interface import Reading, Work
from coordinator.store.records import TokenRow
from shared.crypto.pki import Role
from shared.errors.trust import TokenExpired, TokenInvalid, TokenUsed
from shared.token import Token, TokenKind, new_secret, secret_digest


class IssuedToken(NamedTuple):
    """A token, and the moment from which it is no longer accepted."""

    token: Token
    expires_at: datetime


def issue(work: Work, identity: Identity, *, kind: TokenKind, role: Role, subject: str, now: datetime) -> IssuedToken:
    """A new token for `subject`; only the returned value holds its secret."""
    days = identity.invitation_days if kind is TokenKind.INVITATION else identity.join_days
    token = Token(
        kind=kind,
        addresses=identity.addresses,
        federation=identity.federation,
        root_pem=identity.root.decode(),
        secret=new_secret(),
    )
    ends = now + timedelta(days=days)
    digest = secret_digest(token.secret)
    work.add_token(TokenRow(digest=digest, kind=kind, role=role, subject=subject, expires_at=ends))
    return IssuedToken(token, ends)


def check(reading: Reading, secret: str, *, kind: TokenKind, now: datetime) -> TokenRow:
    """The token that has this secret; raises `TokenInvalid`, `TokenUsed` or `TokenExpired`."""
    row = reading.token(secret_digest(secret))
    if row is None or row.kind is not kind:
        raise TokenInvalid(f"no such {kind} token")
    if row.used_at is not None:
        raise TokenUsed(f"token for {row.subject}")
    if row.expires_at <= now:
        raise TokenExpired(f"token for {row.subject}")
    return row


def use(work: Work, secret: str, *, kind: TokenKind, now: datetime) -> TokenRow:
    """As `check`; the token is used up once the transaction commits."""
    row = check(work, secret, kind=kind, now=now)
    if not work.use_token(row.digest, now):
        raise TokenUsed(f"token for {row.subject}, at the same moment")
    return row
