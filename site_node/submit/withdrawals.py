"""Withdraw at the coordinator what this site has withdrawn, until each receipt of deletion is here."""

from collections.abc import Sequence

from shared.durable import write_whole
from shared.errors.trust import ReceiptInvalid
from shared.ids import Sha256
from shared.manifest import canonical_json
from shared.member import member_channel
from shared.proto.ricord.v1 import submission_pb2 as pb
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.signed import Signed
from shared.wire import UNARY_SECONDS, from_signed
from shared.withdrawal import Deletion
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.home.withdrawals import ToWithdraw
from site_node.membership.record import Membership
from site_node.membership.renewal import member_of


def withdraw_pending(home: SiteHome, ledger: Ledger, membership: Membership) -> tuple[Deletion, ...]:
    """Withdraw what is to be withdrawn still, and keep the receipts; returns them.

    Raises `SignatureInvalid`, `ReceiptInvalid`, `AgreementNotExecuted`, and what `member_channel` raises: what is done
    stays done, and a later call goes on.
    """
    pending, kept = ledger.withdrawals.pending(), list[Deletion]()
    if not pending:
        return ()
    with member_channel(member_of(membership)) as channel:
        stub = SubmissionServiceStub(channel)
        for withdrawn in pending:
            request = pb.WithdrawRequest(submissions=[withdrawn.submission], instances=withdrawn.instances)
            answer = stub.Withdraw(request, timeout=UNARY_SECONDS)
            kept.append(_keep(home, ledger, membership, withdrawn, [from_signed(each) for each in answer.receipts]))
    return tuple(kept)


def allow_resubmission(membership: Membership, submissions: Sequence[Sha256]) -> None:
    """Let the coordinator receive withdrawn studies again; raises what it refuses with."""
    with member_channel(member_of(membership)) as channel:
        for submission in submissions:
            request = pb.AllowResubmissionRequest(submission=submission)
            SubmissionServiceStub(channel).AllowResubmission(request, timeout=UNARY_SECONDS)


def _keep(
    home: SiteHome, ledger: Ledger, membership: Membership, withdrawn: ToWithdraw, receipts: Sequence[Signed]
) -> Deletion:
    """Keep a receipt of deletion, durably, once it is checked; then the ledger says so."""
    if len(receipts) != 1:
        raise ReceiptInvalid(problem="there is no receipt of deletion")
    deletion = receipts[0].verified(membership.coordinator_key, Deletion, what="the receipt of deletion")
    if (deletion.submission, deletion.site_id, deletion.study) != (
        withdrawn.submission,
        membership.site_id,
        withdrawn.study,
    ):
        raise ReceiptInvalid(problem="it is over another submission than was withdrawn")
    if deletion.instances and (not withdrawn.instances or set(withdrawn.instances) - set(deletion.instances)):
        raise ReceiptInvalid(problem="it is over less than was withdrawn")
    home.deletions.mkdir(exist_ok=True, mode=0o700)
    name = f"{deletion.submission}-{deletion.audit_number}.json"
    write_whole(home.deletions / name, canonical_json(receipts[0]))
    ledger.withdrawals.keep(deletion.submission, name, instances=bool(deletion.instances))
    return deletion
