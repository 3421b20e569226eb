"""What was decided here goes to the coordinator, and from there to the site; what cannot be sent now is kept."""

from collections.abc import Sequence

import grpc

from coordinator.curation.deciding import Decider
from coordinator.curation.register.acts import PROGRAM
from coordinator.curation.register.register import Case, Change, Register
from shared.errors.agreements import SubmissionWithdrawn
from shared.errors.inputs import NotFound, SubmissionTransitionInvalid
from shared.submission_state import SubmissionState
from shared.wire import from_rpc


def keep_for_site(change: Change, case: Case, state: SubmissionState, reasons: Sequence[str]) -> None:
    """Keep a decision with the act that it says, until it is sent; a later decision replaces it."""
    statement = (
        "insert into unsent values (?, ?, ?)"
        " on conflict (case_number) do update set state = excluded.state, reasons = excluded.reasons"
    )
    change.db.execute(statement, (case.number, state, "\n".join(reasons)))


def send_decisions(register: Register, decider: Decider) -> int:
    """Send what was kept; returns how many. What the coordinator refuses for good is noted in the log.

    Raises what the coordinator cannot be reached with; the rest is kept then.
    """
    with register.reading() as reading:
        kept = reading.db.execute("select case_number, state, reasons from unsent order by case_number").fetchall()
        cases = {number: reading.case(number) for number, _, _ in kept}
    for number, state, reasons in kept:
        result = "done"
        try:
            decider.decide(cases[number].submission, SubmissionState(state), reasons.splitlines())
        except grpc.RpcError as error:
            refusal = from_rpc(error, "the coordinator")
            if not isinstance(refusal, (NotFound, SubmissionTransitionInvalid, SubmissionWithdrawn)):
                raise
            result = f"refused: {refusal.code}"
        with register.changing() as change:
            change.note(PROGRAM, f"send {state}", cases[number].submission, result)
            statement = "delete from unsent where case_number = ? and state = ? and reasons = ?"
            change.db.execute(statement, (number, state, reasons))
    return len(kept)
