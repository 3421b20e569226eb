"""The editions of the protocol that a coordinator knows: noted at each start, accepted by its operator."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import ValidationError

from coordinator.home.identity import OPERATOR, Clock, Identity, utc_now
from coordinator.store.interface import Store
from coordinator.store.records import Edition
from shared.crypto.pki import Role
from shared.errors.inputs import InvalidArgument, NotFound
from shared.ids import Sha256

_FARTHEST = timedelta(days=3653)  # ten years; what is later is a slip


class EditionService:
    """The list of editions; each change is one transaction with its audit event."""

    def __init__(self, store: Store, identity: Identity, clock: Clock = utc_now) -> None:
        self._store = store
        self._identity = identity
        self._now = clock

    def note_installed(self) -> None:
        """Enter the edition that is installed, once: later ones can then name it to be accepted."""
        installed, now = self._identity.protocol, self._now()
        with self._store.read() as reading:
            if reading.edition(installed.digest) is not None:
                return
        with self._store.begin() as work:
            if work.edition(installed.digest) is None:  # no other process was faster
                work.put_edition(Edition(**installed.model_dump(), noted_at=now))
                work.append_event(
                    at=now,
                    actor=self._identity.uri(Role.COORDINATOR, OPERATOR),
                    action=f"edition {installed.edition} of the protocol installed",
                    about=installed.digest,
                )

    def editions(self) -> Sequence[Edition]:
        """Every edition that was noted, the first one first."""
        with self._store.read() as reading:
            return reading.editions()

    def is_installed(self, edition: Edition) -> bool:
        """Whether it is the one by which this coordinator works."""
        return edition.digest == self._identity.protocol_digest

    def accept(self, reference: str, until: datetime, *, edition: str = "", actor: str) -> Edition:
        """Accept studies of an edition until a moment; one that has passed ends it.

        `reference` is a digest, or the beginning of one, or the name of an edition that was noted. With `edition` it is
        the whole digest of one that was not, under that name. Raises `NotFound`, `InvalidArgument`.
        """
        now = self._now()
        if until - now > _FARTHEST:
            raise InvalidArgument(name="The last day", problem="it is more than ten years away")
        with self._store.begin() as work:
            known = self._named(work.editions(), reference, edition, now)
            if self.is_installed(known):
                raise InvalidArgument(name="The edition", problem="it is the one installed, which is accepted")
            accepted = known.model_copy(update={"accepted_until": until})
            work.put_edition(accepted)
            action = f"edition {known.edition} of the protocol accepted until {until:%Y-%m-%dT%H:%M:%SZ}"
            work.append_event(at=now, actor=actor, action=action, about=known.digest)
        return accepted

    def _named(self, known: Sequence[Edition], reference: str, edition: str, now: datetime) -> Edition:
        meant = [row for row in known if row.edition == reference or (reference and row.digest.startswith(reference))]
        if len(meant) > 1:
            raise InvalidArgument(name="The edition", problem=f"{len(meant)} are named so; give more of the digest")
        if meant:
            return meant[0]
        if not edition:
            raise NotFound(kind="edition", name=reference)
        try:
            protocol = self._identity.protocol.protocol
            return Edition(protocol=protocol, edition=edition, digest=Sha256(reference), noted_at=now)
        except ValidationError:
            raise InvalidArgument(name="The edition", problem="it is named by numbers, as 2026.11") from None
