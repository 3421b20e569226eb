"""Uploading a sealed study: resumable, and done only when a receipt signed by the coordinator is on disk."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from threading import Lock
from typing import TypeVar

import grpc

from shared.errors.transport import CoordinatorBusy, CoordinatorUnreachable, TransportError, UploadInterrupted
from shared.member import clock_blamed, member_channel
from shared.proto.ricord.v1 import submission_pb2 as pb
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.signed import Signed, of_manifest
from shared.wire import UNARY_SECONDS, from_rpc, from_signed, to_signed
from site_node.home.folder import SiteHome
from site_node.membership.proof import check_newest
from site_node.membership.record import Membership
from site_node.membership.renewal import member_of
from site_node.membership.witness import Witness
from site_node.study import Sealed, Submitted
from site_node.submit.outbox import discard
from site_node.submit.pace import Pace
from site_node.submit.receipts import Answer, Receipts
from site_node.submit.window import Window

Result = TypeVar("Result")
UNPACED = Pace()
_PAUSES = (0.5, 2.0, 5.0)  # seconds before each further try

Submit = Callable[[Sealed], Submitted]


@contextmanager
def submitting(home: SiteHome, membership: Membership, pace: Pace = UNPACED) -> Iterator[Submit]:
    """One connection for many studies, also of several threads. Raises what `member_channel` raises before it connects.

    Each call raises `AuditContradicted` while a contradiction in the coordinator's audit log stops the sending. The
    first, and the first after the coordinator was away, has it proven that its log was not set back.
    """
    member, witness, lock = member_of(membership), Witness(home), Lock()
    is_proven = False

    def send(sealed: Sealed) -> Submitted:
        nonlocal is_proven
        witness.check()
        with clock_blamed(member):
            with lock:
                if not is_proven:
                    _with_retries(lambda: check_newest(channel, home, membership, receipts.newest_path))
                    is_proven = True
            try:
                return submit(sealed, client, receipts)
            except TransportError:
                is_proven = False
                raise

    with member_channel(member) as channel:
        client = UploadClient(channel, membership.addresses.main, pace)
        receipts = Receipts(home, membership)
        yield send


def submit(sealed: Sealed, client: "UploadClient", receipts: Receipts) -> Submitted:
    """Upload a study and keep its receipt; a study that already has one is not sent again.

    Raises what `Receipts.keep` raises, `CoordinatorUnreachable`, `CoordinatorBusy` or `UploadInterrupted` after three
    further tries, and whatever the coordinator refuses with. A study leaves the outbox once its receipt is durable.
    """
    manifest = sealed.manifest.manifest
    receipt = receipts.kept(manifest) or receipts.keep(
        sealed, _with_retries(lambda: client.upload(of_manifest(sealed.manifest), sealed.ciphertext, receipts.newest))
    )
    discard(sealed)
    return Submitted(
        key=sealed.key,
        receipt=receipts.path(manifest),
        sequence=receipt.sequence,
        received_at=receipt.received_at,
        audit_number=receipt.audit_number,
    )


class UploadClient:
    """The submission service as a site sees it; its calls raise our errors."""

    def __init__(self, channel: grpc.Channel, address: str, pace: Pace = UNPACED) -> None:
        self._stub = SubmissionServiceStub(channel)
        self._address = address
        self._pace = pace

    def upload(self, manifest: Signed, ciphertext: Path, newest: int) -> Answer:
        """Send what the coordinator does not hold yet; `newest` is the highest audit number in a receipt here.

        What goes in one message is sent without asking; where a part of it, or another upload, is there, it is asked.
        """
        begun_at = datetime.now(UTC)
        if ciphertext.stat().st_size <= self._pace.chunk:
            with suppress(UploadInterrupted):
                return self._send(manifest, ciphertext, 0, begun_at, newest)
        with self._raising():
            state = self._stub.GetUploadOffset(
                pb.GetUploadOffsetRequest(manifest=to_signed(manifest)), timeout=UNARY_SECONDS
            )
        if state.HasField("receipt"):
            return _earlier(state)
        return self._send(manifest, ciphertext, state.durable, begun_at, newest)

    def _send(self, manifest: Signed, ciphertext: Path, offset: int, begun_at: datetime, newest: int) -> Answer:
        """Send a study from `offset` on; raises `UploadInterrupted` where the coordinator holds another part of it."""
        with self._raising():
            window, last = Window(offset), pb.UploadResponse()
            call = self._stub.Upload(_parts(manifest, ciphertext, offset, self._pace, window))
            if not call.add_callback(window.end):
                window.end()
            for last in call:
                window.acknowledge(last.durable)
        if not last.HasField("receipt"):
            raise UploadInterrupted("the stream ended without a receipt")
        if last.HasField("manifest"):
            return _earlier(last)
        return Answer(from_signed(last.receipt), begun_at=begun_at, newest=newest)

    @contextmanager
    def _raising(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise from_rpc(error, self._address) from error


def _earlier(answer: pb.GetUploadOffsetResponse | pb.UploadResponse) -> Answer:
    """What a coordinator answers of a study that it received before."""
    return Answer(from_signed(answer.receipt), from_signed(answer.manifest) if answer.HasField("manifest") else None)


def _parts(manifest: Signed, ciphertext: Path, offset: int, pace: Pace, window: Window) -> Iterator[pb.UploadRequest]:
    yield pb.UploadRequest(header=pb.UploadHeader(manifest=to_signed(manifest), offset=offset))
    with ciphertext.open("rb") as file:
        file.seek(offset)
        for part in iter(lambda: file.read(pace.chunk), b""):
            if not window.wait(len(part)):
                return
            pace.wait(len(part))
            yield pb.UploadRequest(chunk=part)


def _jitter() -> float:
    """A factor, so that sites and studies that were stopped at once do not come back at once."""
    return SystemRandom().uniform(0.5, 1.5)


def _with_retries(call: Callable[[], Result]) -> Result:
    for pause in _PAUSES:
        try:
            return call()
        except (CoordinatorUnreachable, UploadInterrupted):
            time.sleep(pause * _jitter())
        except CoordinatorBusy as error:
            time.sleep(error.seconds * _jitter())
    return call()
