"""Give a coordinator that was restored from a backup the receipts of what it lost, and let those studies come again."""

from shared.durable import move, sync_folder
from shared.ids import Sha256
from shared.member import member_channel
from shared.proto.ricord.v1.audit_pb2 import ReturnReceiptsRequest
from shared.proto.ricord.v1.audit_pb2_grpc import AuditServiceStub
from shared.proto.ricord.v1.submission_pb2 import SUBMISSION_STATE_WITHDRAWN
from shared.receipt import Receipt
from shared.signed import Signed
from shared.wire import UNARY_SECONDS, to_signed
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.membership.record import Membership
from site_node.membership.renewal import member_of
from site_node.reasons import reason_for
from site_node.submit.comparison import own_rows

_AT_ONCE = 200  # receipts in one request; a coordinator takes no more


def return_receipts(home: SiteHome, ledger: Ledger, membership: Membership) -> list[str]:
    """Return each receipt of which the coordinator lists no submission; the names of those files, moved to `deletions`.

    Their studies are excluded until all of their images come again. What is withdrawn here and stands there again is to
    be withdrawn again. Repeated after a kill, it ends the same. Raises
    `SignatureInvalid` for a receipt that was changed here, and what `member_channel` raises.
    """
    listed = {row.id: row.state for row in own_rows(membership)}
    ledger.withdrawals.renew(Sha256(name) for name, state in listed.items() if state != SUBMISSION_STATE_WITHDRAWN)
    lost = dict[str, Signed]()
    for path in sorted(home.receipts.glob("*.json")):
        signed = Signed.model_validate_json(path.read_bytes())
        if (
            signed.verified(membership.coordinator_key, Receipt, what=f"the receipt {path.name}").submission
            not in listed
        ):
            lost[path.name] = signed
    missing, documents = set[Sha256](), list(lost.values())
    with member_channel(member_of(membership)) as channel:
        for start in range(0, len(documents), _AT_ONCE):
            request = ReturnReceiptsRequest(receipts=map(to_signed, documents[start : start + _AT_ONCE]))
            answer = AuditServiceStub(channel).ReturnReceipts(request, timeout=UNARY_SECONDS)
            missing.update(map(Sha256, answer.missing))
    names = [
        name for name, signed in lost.items() if Receipt.model_validate_json(signed.document).submission in missing
    ]
    _exclude(home, ledger, frozenset(names))
    return names


def _exclude(home: SiteHome, ledger: Ledger, receipts: frozenset[str]) -> None:
    """Let the studies with these receipts come again, as those of a withdrawal that was taken back do."""
    home.deletions.mkdir(exist_ok=True, mode=0o700)
    with home.changing(), ledger.changing():
        for entry in ledger.studies(State.SUBMITTED):
            if entry.receipt in receipts:
                ledger.withdrawals.forget_images(entry.key)
                ledger.advance(entry.key, State.EXCLUDED, reasons=(reason_for("lost-at-centre"),))
    for name in receipts:
        move(home.receipts / name, home.deletions / name)
    sync_folder(home.deletions)
