"""The node as a witness: each day it has the coordinator prove that its audit log only grew."""

from datetime import UTC, datetime, timedelta

import structlog

from shared.errors.base import RicordError
from shared.errors.trust import AuditContradicted
from shared.logs import about
from site_node.home.folder import SiteHome
from site_node.membership.proof import ask
from site_node.membership.record import Membership
from site_node.membership.witness import Witness

log = structlog.get_logger(__name__)

_AGAIN = timedelta(hours=1)  # after a failure


class DailyProof:
    """Asks when a day is over since the last proof; an answer that does not come delays no study."""

    def __init__(self) -> None:
        self._not_before = datetime.min.replace(tzinfo=UTC)

    def ask_if_due(self, home: SiteHome, membership: Membership) -> None:
        """Ask, unless sending is stopped already. A contradiction, which stops it, and other errors are logged."""
        now, witness = datetime.now(UTC), Witness(home)
        try:
            witnessed = witness.witnessed()
            if now < self._not_before or witness.contradiction() or (witnessed and not witnessed.is_due(now)):
                return
            head = ask(home, membership, now)
            log.info("witness.proven", entries=head.size)
        except RicordError as error:
            self._not_before = now + _AGAIN
            level = log.error if isinstance(error, AuditContradicted) else log.warning
            level("witness.problem", **about(error))
