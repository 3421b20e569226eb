"""What a curator decides on a study, signed with its own key: nobody else can set a state."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import grpc
from pydantic import TypeAdapter, ValidationError

from coordinator.curation.keys import CuratorKeys
from coordinator.curation.opening import OpenedStudy
from shared.errors.inputs import InvalidArgument, NotFound
from shared.ids import Sha256
from shared.manifest import Manifest
from shared.proto.ricord.v1 import submission_pb2 as pb
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.signed import Signed
from shared.submission_state import Decision, Reasons, SubmissionState
from shared.wire import UNARY_SECONDS, from_signed, to_signed

_REASONS: TypeAdapter[tuple[str, ...]] = TypeAdapter(Reasons)


def checked_reasons(reasons: Iterable[str]) -> tuple[str, ...]:
    """The reasons as a decision holds them; raises `InvalidArgument`."""
    try:
        return _REASONS.validate_python(tuple(reasons))
    except ValidationError as error:
        problem = "give at most five, each a line of at most 100 characters"
        raise InvalidArgument(name="--reason", problem=problem) from error


class Decider:
    """A curator's decisions on one connection; each raises what the coordinator refuses with."""

    def __init__(self, channel: grpc.Channel, keys: CuratorKeys) -> None:
        self._stub = SubmissionServiceStub(channel)
        self._keys = keys

    def note_open(self, opened: OpenedStudy, state: pb.SubmissionState.ValueType) -> None:
        """Say that a submission is open here, unless that was said."""
        if state == pb.SUBMISSION_STATE_RECEIVED:
            self._decide(opened.signed.manifest, SubmissionState.QUARANTINED, ())

    def decide(self, reference: str, state: SubmissionState, reasons: Sequence[str]) -> Sha256:
        """Set the state of a submission, opened or not; that which it has stays as it is.

        Raises `NotFound`, `SubmissionTransitionInvalid`.
        """
        row = self._row(reference)
        manifest = from_signed(row.manifest).unsafe_parsed(Manifest, what="the manifest")
        if not manifest.submission.startswith(reference):
            raise NotFound(kind="submission", name=reference)
        return self._decide(manifest, state, reasons)

    def _row(self, reference: str) -> pb.GetSubmissionResponse:
        return self._stub.GetSubmission(pb.GetSubmissionRequest(id=reference), timeout=UNARY_SECONDS)

    def _decide(self, manifest: Manifest, state: SubmissionState, reasons: Sequence[str]) -> Sha256:
        decision = Decision(
            submission=manifest.submission, state=state, reasons=tuple(reasons), decided_at=datetime.now(UTC)
        )
        signed = Signed.by(self._keys.signing_for(manifest.recipient), decision)
        self._stub.Decide(pb.DecideRequest(decision=to_signed(signed)), timeout=UNARY_SECONDS)
        return manifest.submission
