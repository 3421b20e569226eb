"""Asking the centre where this site's submissions stand: only what changed since is asked for."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog

from shared.crypto.signing import VerifyKey
from shared.errors.base import RicordError
from shared.errors.trust import SignatureInvalid
from shared.ids import Sha256, Uid
from shared.logs import about
from shared.proto.ricord.v1 import submission_pb2 as pb
from shared.submission_state import DECIDED, Decision, SubmissionState
from shared.wire import from_signed
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.home.submissions import CentreState
from site_node.membership.record import Membership, curator_keys
from site_node.submit.comparison import own_rows
from site_node.submit.withdrawals import withdraw_pending

log = structlog.get_logger(__name__)

UNSIGNED = ("the curator named in the agreement did not sign this",)
_EVERY = timedelta(minutes=10)


class StatesWatch:
    """Asks every ten minutes; an answer that does not come delays no study."""

    def __init__(self) -> None:
        self._not_before = datetime.min.replace(tzinfo=UTC)

    def ask_if_due(self, home: SiteHome, ledger: Ledger, membership: Membership) -> None:
        """Ask, and withdraw what is withdrawn here and not there yet; an error is logged by its code."""
        if (now := datetime.now(UTC)) < self._not_before:
            return
        self._not_before = now + _EVERY
        try:
            fetch_states(home, ledger, membership)
            withdraw_pending(home, ledger, membership)
        except RicordError as error:
            log.warning("states.problem", **about(error))


def fetch_states(home: SiteHome, ledger: Ledger, membership: Membership) -> None:
    """Enter into the ledger what changed at the centre; raises what `own_rows` and `curator_keys` raise."""
    keys = curator_keys(home, membership)
    rows = own_rows(membership, after=ledger.submissions.last_change(), by_change=True)
    ledger.submissions.put([_state(row, keys) for row in rows if not row.problem])


def _state(row: pb.Submission, keys: Sequence[VerifyKey]) -> CentreState:
    """What a row says; a state that no curator of the agreement, present or former, signed says so as its reason."""
    state = SubmissionState(pb.SubmissionState.Name(row.state).removeprefix("SUBMISSION_STATE_").lower())
    reasons: tuple[str, ...] = ()
    if state in DECIDED:
        decision = _decision(row, keys)
        if decision is None or (decision.submission, decision.state) != (row.id, state):
            reasons = UNSIGNED
        else:
            reasons = decision.reasons
    return CentreState(
        submission=Sha256(row.id),
        study=Uid(row.study),
        state=state,
        reasons=reasons,
        changed=row.changed,
        patient=row.patient,
    )


def _decision(row: pb.Submission, keys: Sequence[VerifyKey]) -> Decision | None:
    for key in keys:
        with suppress(SignatureInvalid):
            return from_signed(row.decision).verified(key, Decision, what="the decision")
    return None
