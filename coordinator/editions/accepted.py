"""Whether studies of an edition are accepted: the one installed, and earlier ones until the date set for each."""

from datetime import datetime

from coordinator.store.interface import Reading
from shared.agreement import AgreementTerms
from shared.editions import ProtocolEdition
from shared.errors.protocol import EditionNotCovered, EditionOver, ProtocolMismatch
from shared.ids import Sha256


def check_edition(
    reading: Reading, digest: Sha256, *, installed: ProtocolEdition, terms: AgreementTerms, now: datetime
) -> None:
    """Raise unless studies made under the edition with that digest are accepted now, by the list and the agreement.

    Raises `ProtocolMismatch` for one that is unknown here, which may be later than the one installed; `EditionOver`,
    `EditionNotCovered`.
    """
    edition = installed
    if digest != installed.digest:
        known = reading.edition(digest)
        if known is None:
            raise ProtocolMismatch(held=digest, wanted=installed.digest)
        if known.accepted_until is None or known.accepted_until <= now:
            ended = known.accepted_until
            raise EditionOver(edition=known.edition, until=f"until {ended:%Y-%m-%d} only" if ended else "no longer")
        edition = known
    if not terms.covers(edition):
        raise EditionNotCovered(edition=edition.edition, protocol=edition.protocol)
