"""What the coordinator says that it received from this site, beside the receipts that are held here."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from shared.crypto.signing import VerifyKey
from shared.errors.trust import SignatureInvalid
from shared.frozen import Frozen
from shared.member import member_channel
from shared.proto.ricord.v1 import submission_pb2 as pb
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.receipt import Receipt
from shared.signed import Signed
from shared.wire import UNARY_SECONDS, from_timestamp
from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from site_node.membership.renewal import member_of

_FIELDS = {  # of a receipt: in a row
    "submission": "id",
    "site_id": "site_id",
    "agreement": "agreement_id",
    "agreement_version": "agreement_version",
    "study": "study",
    "sequence": "sequence",
    "contents_sha256": "contents_sha256",
    "ciphertext_sha256": "ciphertext_sha256",
    "ciphertext_size": "ciphertext_size",
    "audit_number": "number",
}


class Comparison(Frozen):
    """How many receipts are held here, how many rows are there, and each thing in which they differ."""

    receipts: int
    rows: int
    differences: tuple[str, ...]


def own_rows(
    membership: Membership, *, after: int = 0, limit: int = 0, by_change: bool = False
) -> Iterator[pb.Submission]:
    """What the coordinator received from this site, the first first: all, or `limit` at most after a number.

    With `by_change` in the order of the last changes of their states, after the number of such a change.
    Raises what `member_channel` raises.
    """
    request, left = pb.ListSubmissionsRequest(after=after, limit=limit, by_change=by_change), limit
    with member_channel(member_of(membership)) as channel:
        stub = SubmissionServiceStub(channel)
        while True:
            page = stub.ListSubmissions(request, timeout=UNARY_SECONDS)
            yield from page.submissions
            left -= len(page.submissions)
            if page.next <= request.after or (limit and left <= 0):  # all, or a coordinator that would never end
                return
            request.after, request.limit = page.next, max(left, 0)


def compare(home: SiteHome, membership: Membership) -> Comparison:
    """Compare each receipt with its row, field by field; raises what `own_rows` raises."""
    rows = {row.id: row for row in own_rows(membership)}
    differences, seen, count = list[str](), set[str](), 0
    for path in sorted(home.receipts.glob("*.json")):
        count += 1
        try:
            receipt = _receipt(path, membership.coordinator_key)
        except (SignatureInvalid, ValidationError):
            differences.append(f"receipt {path.name}: it is not what the coordinator signed")
            continue
        seen.add(receipt.submission)
        differences += _differences(receipt, rows.get(receipt.submission))
    differences += [
        f"submission {row.id} of study {row.study}: no receipt of it is held here"
        for row in rows.values()
        if row.id not in seen
    ]
    return Comparison(receipts=count, rows=len(rows), differences=tuple(differences))


def _receipt(path: Path, coordinator: VerifyKey) -> Receipt:
    return Signed.model_validate_json(path.read_bytes()).verified(coordinator, Receipt, what="the receipt")


def _differences(receipt: Receipt, row: pb.Submission | None) -> Iterator[str]:
    name = f"submission {receipt.submission} of study {receipt.study}"
    if row is None:
        yield f"{name}: the coordinator has no row of it, and signed a receipt"
    elif row.problem:
        yield f"{name}: {row.problem}"
    else:
        values = {field: (getattr(receipt, field), getattr(row, of_row)) for field, of_row in _FIELDS.items()}
        values["received_at"] = (receipt.received_at, from_timestamp(row.received_at))
        for field, (here, there) in values.items():
            if here != there:
                yield f"{name}: its {field.replace('_', ' ')} is {here} in the receipt, {there} in the row"
