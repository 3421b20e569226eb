"""Uploading a sealed study: resumable, and done only when a receipt signed by the coordinator is on disk."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from shared.errors import CoordinatorBusy, CoordinatorUnreachable, UploadInterrupted
from shared.member import clock_blamed, member_channel
from shared.proto.ricord.v1 import submission_pb2 as pb
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.signed import Signed, of_manifest
from shared.wire import UNARY_SECONDS, from_rpc, from_signed, to_signed
from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from site_node.membership.renewal import member_of
from site_node.membership.witness import Witness
from site_node.study import Sealed, Submitted
from site_node.submit.outbox import checked_receipt, discard, keep_receipt, receipt_path

CHUNK = 1 << 20  # bytes; larger ones were not faster, and a message must stay under 4 MiB
_PAUSES = (0.5, 2.0, 5.0)  # seconds before each further try

Submit = Callable[[Sealed], Submitted]


@contextmanager
def submitting(home: SiteHome, membership: Membership) -> Iterator[Submit]:
    """One connection for many studies. Raises what `member_channel` raises before it connects.

    Each call raises `AuditContradicted` while a contradiction in the coordinator's audit log stops the sending.
    """
    member, witness = member_of(membership), Witness(home)

    def send(sealed: Sealed) -> Submitted:
        witness.check()
        with clock_blamed(member):
            return submit(sealed, client, receipts=home.receipts, membership=membership)

    with member_channel(member) as channel:
        client = UploadClient(channel, membership.addresses.main)
        yield send


def submit(sealed: Sealed, client: "UploadClient", *, receipts: Path, membership: Membership) -> Submitted:
    """Upload a study and keep its receipt; a study that already has one is not sent again.

    Raises `SignatureInvalid` when the receipt is not the coordinator's over this very study, `CoordinatorUnreachable`,
    `CoordinatorBusy` or `UploadInterrupted` after three further tries, and whatever the coordinator refuses with. A
    study leaves the outbox only when its receipt is durable.
    """
    manifest, path = sealed.manifest.manifest, receipt_path(receipts, sealed.manifest.manifest)
    if path.exists():
        signed = Signed.model_validate_json(path.read_bytes())
    else:
        signed = _with_retries(lambda: client.upload(of_manifest(sealed.manifest), sealed.ciphertext))
    receipt = checked_receipt(signed, manifest, membership.coordinator_key)
    keep_receipt(receipts, signed, manifest)
    discard(sealed)
    return Submitted(key=sealed.key, receipt=path, sequence=receipt.sequence, received_at=receipt.received_at)


class UploadClient:
    """The submission service as a site sees it; its calls raise our errors."""

    def __init__(self, channel: grpc.Channel, address: str) -> None:
        self._stub = SubmissionServiceStub(channel)
        self._address = address

    def upload(self, manifest: Signed, ciphertext: Path) -> Signed:
        """Send what the coordinator does not hold yet; returns the receipt, unchecked."""
        try:
            state = self._stub.GetUploadOffset(
                pb.GetUploadOffsetRequest(manifest=to_signed(manifest)), timeout=UNARY_SECONDS
            )
            if state.HasField("receipt"):
                return from_signed(state.receipt)
            receipt = None
            for answer in self._stub.Upload(_parts(manifest, ciphertext, state.durable)):
                if answer.HasField("receipt"):
                    receipt = from_signed(answer.receipt)
        except grpc.RpcError as error:
            raise from_rpc(error, self._address) from error
        if receipt is None:
            raise UploadInterrupted("the stream ended without a receipt")
        return receipt


def _parts(manifest: Signed, ciphertext: Path, offset: int) -> Iterator[pb.UploadRequest]:
    yield pb.UploadRequest(header=pb.UploadHeader(manifest=to_signed(manifest), offset=offset))
    with ciphertext.open("rb") as file:
        file.seek(offset)
        yield from (pb.UploadRequest(chunk=part) for part in iter(lambda: file.read(CHUNK), b""))


def _with_retries(upload: Callable[[], Signed]) -> Signed:
    for pause in _PAUSES:
        try:
            return upload()
        except (CoordinatorUnreachable, UploadInterrupted):
            time.sleep(pause)
        except CoordinatorBusy as error:
            time.sleep(error.seconds)
    return upload()
