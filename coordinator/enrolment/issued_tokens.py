"""What coordinators do with tokens that were issued: list and revoke them. Their secrets are kept nowhere."""

from collections.abc import Sequence

from coordinator.home.identity import Clock, utc_now
from coordinator.store.interface import Store
from coordinator.store.paging import read_page
from coordinator.store.records import TokenRow
from coordinator.store.references import resolve
from shared.errors.inputs import NotFound
from shared.ids import Sha256

PAGE = 500  # tokens


class IssuedTokens:
    """Tokens of every kind, by the digests of their secrets."""

    def __init__(self, store: Store, clock: Clock = utc_now) -> None:
        self._store = store
        self._now = clock

    def tokens(self, *, after: str, limit: int) -> tuple[Sequence[TokenRow], bool]:
        """Tokens by digest, after a digest, at most `limit` (0: a whole page); whether there are more."""
        with self._store.read() as reading:
            return read_page(lambda limit: reading.tokens(after=after, limit=limit), limit, PAGE)

    def revoke(self, reference: str, *, actor: str) -> Sequence[TokenRow]:
        """Revoke what could be used of the tokens for a name, or the token whose digest begins so; returns them.

        Raises `NotFound`, also where none could be used any more, and `AmbiguousReference`.
        """
        now = self._now()
        with self._store.begin() as work:
            rows = work.tokens(subject=reference)
            digests = [row.digest for row in rows] or [Sha256(resolve(work, "token", reference))]
            revoked = [row for digest in digests if work.cancel_token(digest, now) and (row := work.token(digest))]
            if not revoked:
                raise NotFound(kind="usable token", name=reference)
            for row in revoked:
                about = f"{row.kind} token {row.digest[:16]} for {row.role} {row.subject}"
                work.append_event(at=now, actor=actor, action="token revoked", about=about)
            return revoked
