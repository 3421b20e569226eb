"""Asking the coordinator to prove that its audit log of today contains everything that it signed for this site."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from random import SystemRandom

import grpc

from shared.audit_head import AuditHead
from shared.errors.trust import AuditBroken, AuditContradicted, SignatureInvalid
from shared.member import member_channel
from shared.proto.ricord.v1.audit_pb2 import GetProofRequest, GetProofResponse
from shared.proto.ricord.v1.audit_pb2_grpc import AuditServiceStub
from shared.receipt import Receipt
from shared.signed import Signed
from shared.wire import UNARY_SECONDS, from_rpc, from_signed
from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from site_node.membership.renewal import member_of
from site_node.membership.witness import Contradiction, Witness

_AT_ONCE = 200  # receipts in one request; a coordinator answers no more
_AGAIN = 200  # receipts that were proven before and are asked for again; the coordinator cannot know which
_HEAD = "the head of the audit log"


def ask(home: SiteHome, membership: Membership, now: datetime) -> AuditHead:
    """Have it proven that the log contains the head and the receipts that are held here, and keep the head of now.

    Raises `AuditContradicted`, and stops the sending, where it does not; `SignatureInvalid` for an answer that the
    coordinator did not sign, or a file that was changed here; and what `member_channel` raises.
    """
    witness = Witness(home)
    witness.check()
    unproven, proven = witness.receipts()
    batches = [unproven[start : start + _AT_ONCE] for start in range(0, len(unproven), _AT_ONCE)]
    again = SystemRandom().sample(proven, min(len(proven), _AGAIN))
    try:
        with member_channel(member_of(membership)) as channel:
            stub = AuditServiceStub(channel)
            for paths in batches:
                witness.keep(_proven_head(stub, witness, membership, paths, now), now, proven=paths)
            head = _proven_head(stub, witness, membership, again, now)
            witness.keep(head, now, proven=())
    except AuditBroken as error:
        raise _says_broken(witness, error, now) from error
    return head.verified(membership.coordinator_key, AuditHead, what=_HEAD)


def check_newest(channel: grpc.Channel, home: SiteHome, membership: Membership, newest: Path | None) -> None:
    """Have it proven that the log contains the head kept here and the newest receipt, so that it was not set back.

    It keeps nothing, so that the day's proof is asked for in time. Raises as `ask` does.
    """
    witness, now = Witness(home), datetime.now(UTC)
    paths = [] if newest is None or witness.is_given_up(newest) else [newest]
    try:
        _proven_head(AuditServiceStub(channel), witness, membership, paths, now)
    except grpc.RpcError as error:
        refusal = from_rpc(error, membership.addresses.main)
        if isinstance(refusal, AuditBroken):
            raise _says_broken(witness, refusal, now) from error
        raise refusal from error


def _says_broken(witness: Witness, error: AuditBroken, now: datetime) -> AuditContradicted:
    number = error.fields.get("number", "?")
    return _stopped(witness, f"it says itself that entry {number} is missing or was changed", now)


def _proven_head(
    stub: AuditServiceStub, witness: Witness, membership: Membership, paths: Sequence[Path], now: datetime
) -> Signed:
    """The head of now, once it is proven to contain the kept one and these receipts; raises as `ask` does."""
    key = membership.coordinator_key
    held, signed_receipts = witness.witnessed(), [Signed.model_validate_json(path.read_bytes()) for path in paths]
    earlier = witness.head(key)
    receipts = [signed.verified(key, Receipt, what="a receipt that is kept here") for signed in signed_receipts]
    request = GetProofRequest(
        size=earlier.size if earlier else 0, numbers=[receipt.audit_number for receipt in receipts]
    )
    answer = stub.GetProof(request, timeout=UNARY_SECONDS)
    signed = from_signed(answer.head)
    head = signed.verified(key, AuditHead, what=_HEAD)
    if head.federation != membership.federation:
        raise SignatureInvalid("another federation's", what=_HEAD)
    if earlier is not None and (problem := _growth_problem(earlier, head, answer)):
        raise _stopped(witness, problem, now, held=held.head if held else None, answer=signed)
    for receipt, document, path in zip_longest(receipts, signed_receipts, answer.paths[: len(receipts)]):
        if problem := _receipt_problem(receipt, head, path.hashes if path else ()):
            raise _stopped(witness, problem, now, receipt=document, answer=signed)
    return signed


def _growth_problem(earlier: AuditHead, head: AuditHead, answer: GetProofResponse) -> str:
    """Why the log of now is not that of `earlier` and more; empty where it is."""
    if head.size < earlier.size:
        return f"it has {head.size} entries, and had {earlier.size} on {earlier.signed_at:%Y-%m-%d}"
    if not head.extends(earlier, answer.consistency):
        return f"it does not go on from the {earlier.size} entries of {earlier.signed_at:%Y-%m-%d}"
    return ""


def _receipt_problem(receipt: Receipt, head: AuditHead, path: Sequence[bytes]) -> str:
    """Why the log of now does not contain the event of a receipt; empty where it does."""
    entry = f"entry {receipt.audit_number}, for which there is a receipt of {receipt.received_at:%Y-%m-%d}"
    if receipt.audit_number > head.size:
        return f"it ends at entry {head.size}, before {entry}"
    return "" if head.contains(receipt.audit_number, receipt.audit_head, path) else f"{entry}, is not what it was"


def _stopped(witness: Witness, problem: str, now: datetime, **evidence: Signed | None) -> AuditContradicted:
    """The error to raise, after the sending was stopped for it."""
    contradiction = Contradiction(problem=problem, seen_at=now, **evidence)
    witness.stop(contradiction)
    return contradiction.error
