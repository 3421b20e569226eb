"""Sealed studies on the wire; each method is one call of the service."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import grpc

from coordinator.submission.commits import Received
from coordinator.submission.decisions import DecisionService
from coordinator.submission.lists import SubmissionLists
from coordinator.submission.service import SubmissionService
from coordinator.submission.streams import IdleWatch
from coordinator.submission.withdrawals import WithdrawalService
from coordinator.trust.interceptor import peer_of
from shared.crypto.pki import Role
from shared.errors.inputs import InvalidArgument
from shared.errors.trust import RoleNotAllowed
from shared.ids import SiteId
from shared.proto.ricord.v1 import submission_pb2 as pb
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceServicer
from shared.signed import Signed
from shared.wire import from_signed, to_signed, to_timestamp

if TYPE_CHECKING:
    from coordinator.store.records import ListedSubmission, Submission, Withdrawal


class SubmissionServicer(SubmissionServiceServicer):
    """Uploads from sites, downloads for curators, and lists of what was received."""

    def __init__(
        self,
        service: SubmissionService,
        lists: SubmissionLists,
        decisions: DecisionService,
        withdrawals: WithdrawalService,
        idle: IdleWatch,
    ) -> None:
        self._service = service
        self._lists = lists
        self._decisions = decisions
        self._withdrawals = withdrawals
        self._idle = idle

    def GetUploadOffset(
        self, request: pb.GetUploadOffsetRequest, context: grpc.ServicerContext
    ) -> pb.GetUploadOffsetResponse:
        """How far an upload has come."""
        offset = self._service.offset(SiteId(peer_of(context).name), from_signed(request.manifest))
        received = offset.received
        return pb.GetUploadOffsetResponse(
            durable=offset.durable,
            receipt=to_signed(received.receipt) if received else None,
            manifest=to_signed(received.manifest) if received else None,
        )

    def Upload(
        self, request_iterator: Iterator[pb.UploadRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.UploadResponse]:
        """The rest of a study."""
        site_id = SiteId(peer_of(context).name)
        parts = self._idle.watched(request_iterator, context.cancel)
        header = _header(parts)
        chunks = (part.chunk for part in parts)
        steps = self._service.receive(site_id, from_signed(header.manifest), header.offset, chunks)
        yield from map(_step, steps)

    def ListSubmissions(
        self, request: pb.ListSubmissionsRequest, context: grpc.ServicerContext
    ) -> pb.ListSubmissionsResponse:
        """What was received."""
        page = self._lists.page(
            site=_site(context, request.site_id),
            curator=_curator(context),
            after=request.after,
            limit=request.limit,
            by_change=request.by_change,
        )
        return pb.ListSubmissionsResponse(
            submissions=[_message(row, row.manifest, row.decision) for row in page.rows],
            next=page.next,
        )

    def ListSequenceFaults(
        self, request: pb.ListSequenceFaultsRequest, context: grpc.ServicerContext
    ) -> pb.ListSequenceFaultsResponse:
        """What is missing, and what came more than once."""
        faults, following = self._lists.sequence_faults(site=request.site_id, after=request.after, limit=request.limit)
        return pb.ListSequenceFaultsResponse(
            gaps=[
                pb.SequenceGap(site_id=fault.site_id, first=fault.previous + 1, last=fault.sequence - 1)
                for fault in faults
                if fault.follows_gap
            ],
            repeats=[
                pb.SequenceRepeat(site_id=fault.site_id, sequence=fault.sequence, count=fault.times)
                for fault in faults
                if fault.times > 1
            ],
            next=following,
        )

    def CountByWeek(self, request: pb.CountByWeekRequest, context: grpc.ServicerContext) -> pb.CountByWeekResponse:
        """Counts and sizes."""
        counts = self._lists.by_week(request.weeks)
        return pb.CountByWeekResponse(
            weeks=[
                pb.WeekCount(begins_at=to_timestamp(monday), **tally._asdict())
                for monday, tallies in counts.weeks.items()
                for tally in tallies
            ],
            states=[pb.StateCount(**{**tally._asdict(), "state": _state(tally.state)}) for tally in counts.states],
            missing=[pb.MissingCount(site_id=site_id, numbers=count) for site_id, count in counts.missing.items()],
        )

    def GetSubmission(
        self, request: pb.GetSubmissionRequest, context: grpc.ServicerContext
    ) -> pb.GetSubmissionResponse:
        """One, with what was signed about it."""
        row = self._lists.submission(request.id, curator=_curator(context))
        return pb.GetSubmissionResponse(
            submission=_whole_message(row),
            manifest=to_signed(row.manifest),
            receipt=to_signed(row.receipt),
        )

    def Fetch(self, request: pb.FetchRequest, context: grpc.ServicerContext) -> Iterator[pb.FetchResponse]:
        """One, from an offset on, for its curator."""
        fetched, chunks = self._service.fetch(peer_of(context).name, request.id, request.offset)
        agreement = fetched.agreement
        header = pb.FetchHeader(
            submission=_whole_message(fetched.row),
            manifest=to_signed(fetched.row.manifest),
            site_verify_key=fetched.site_key,
            consent=to_signed(agreement.consent) if agreement.consent else None,
            execution=to_signed(agreement.execution) if agreement.execution else None,
            edition=fetched.edition,
        )
        yield pb.FetchResponse(header=header)
        yield from (pb.FetchResponse(chunk=chunk) for chunk in chunks)

    def Decide(self, request: pb.DecideRequest, context: grpc.ServicerContext) -> pb.DecideResponse:
        """A curator's decision."""
        self._decisions.decide(peer_of(context).name, from_signed(request.decision))
        return pb.DecideResponse()

    def Withdraw(self, request: pb.WithdrawRequest, context: grpc.ServicerContext) -> pb.WithdrawResponse:
        """Submissions, or images of a single one."""
        receipts = self._withdrawals.withdraw(peer_of(context), request.submissions, request.instances)
        return pb.WithdrawResponse(receipts=map(to_signed, receipts))

    def AllowResubmission(
        self, request: pb.AllowResubmissionRequest, context: grpc.ServicerContext
    ) -> pb.AllowResubmissionResponse:
        """Of a withdrawn study."""
        self._withdrawals.allow(peer_of(context), request.submission)
        return pb.AllowResubmissionResponse()

    def ListWithdrawals(
        self, request: pb.ListWithdrawalsRequest, context: grpc.ServicerContext
    ) -> pb.ListWithdrawalsResponse:
        """Tombstones."""
        page = self._withdrawals.page(
            peer_of(context), after=request.after, limit=request.limit, unpurged=request.unpurged
        )
        return pb.ListWithdrawalsResponse(withdrawals=map(_withdrawal, page.rows), next=page.next)

    def ReportPurge(self, request: pb.ReportPurgeRequest, context: grpc.ServicerContext) -> pb.ReportPurgeResponse:
        """What the curator purged."""
        self._withdrawals.note_purge(peer_of(context).name, from_signed(request.statement))
        return pb.ReportPurgeResponse()


def _state(state: str) -> pb.SubmissionState.ValueType:
    return pb.SubmissionState.Value(f"SUBMISSION_STATE_{state.upper()}")


def _curator(context: grpc.ServicerContext) -> str | None:
    """The calling curator's name, who sees only what is sealed to it; `None` for coordinators."""
    peer = peer_of(context)
    return peer.name if peer.role is Role.CURATOR else None


def _site(context: grpc.ServicerContext, asked: str) -> str:
    """The site whose submissions are listed, empty for every one; a site's own. Raises `RoleNotAllowed`."""
    peer = peer_of(context)
    if peer.role is not Role.SITE:
        return asked
    if asked not in {"", peer.name}:
        raise RoleNotAllowed(f"{peer.uri} asked for those of {asked}", role=peer.role)
    return peer.name


def _withdrawal(row: "Withdrawal") -> pb.Withdrawal:
    return pb.Withdrawal(
        number=row.number,
        submission=row.submission,
        site_id=row.site_id,
        study=row.study,
        by=row.by,
        instances=row.instances,
        withdrawn_at=to_timestamp(row.withdrawn_at),
        deletion=to_signed(row.deletion) if row.deletion else None,
        purge=to_signed(row.purge) if row.purge else None,
        allowed_at=to_timestamp(row.allowed_at) if row.allowed_at else None,
    )


def _header(parts: Iterator[pb.UploadRequest]) -> pb.UploadHeader:
    first = next(parts, None)
    if first is None or not first.HasField("header"):
        raise InvalidArgument(name="The upload", problem="it must start with its header")
    return first.header


def _step(step: int | Signed | Received) -> pb.UploadResponse:
    if isinstance(step, Received):
        return pb.UploadResponse(receipt=to_signed(step.receipt), manifest=to_signed(step.manifest))
    if isinstance(step, Signed):
        return pb.UploadResponse(receipt=to_signed(step))
    return pb.UploadResponse(durable=step)


def _whole_message(row: "Submission") -> pb.Submission:
    return _message(row, row.manifest.model_dump_json(), row.decision.model_dump_json() if row.decision else None)


def _message(row: "Submission | ListedSubmission", manifest: str, decision: str | None) -> pb.Submission:
    """A row and the JSON of its signed documents as a message; one that cannot be read is named."""
    try:
        stated = json.loads(json.loads(manifest)["document"])
        return pb.Submission(
            id=row.id,
            number=row.number,
            site_id=row.site_id,
            study=row.study,
            agreement_id=row.agreement,
            agreement_version=row.agreement_version,
            sequence=row.sequence,
            contents_sha256=row.contents_sha256,
            ciphertext_sha256=row.ciphertext_sha256,
            ciphertext_size=row.ciphertext_size,
            series_count=stated["series_count"],
            instance_count=stated["instance_count"],
            modalities=stated["modalities"],
            received_at=to_timestamp(row.received_at),
            state=_state(row.state),
            decision=to_signed(Signed.model_validate_json(decision)) if decision else None,
            changed=row.changed,
            patient=stated["patient"],
        )
    except (KeyError, TypeError, ValueError):
        problem = "its stored row cannot be read"
        return pb.Submission(id=row.id, number=row.number, site_id=row.site_id, problem=problem)
