"""FederationService on the wire: each method is one call of `coordinator.federation.service`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import grpc
from pydantic import ValidationError

from coordinator.federation.kept_models import KeptModels
from coordinator.federation.notices import Notice
from coordinator.federation.proposals import ProposalService
from coordinator.federation.service import FederationService
from coordinator.federation.waiting import WaitingSites
from coordinator.trust.interceptor import Outlet, actor_of, asker_of, peer_of, without_thread
from shared.errors.federation import PlanInvalid
from shared.federation.plan import Proposal, problem_of
from shared.ids import SiteId
from shared.manifest import canonical_json
from shared.proto.ricord.v1 import federation_pb2 as wire
from shared.proto.ricord.v1.federation_pb2_grpc import FederationServiceServicer
from shared.wire import from_signed, to_timestamp

if TYPE_CHECKING:
    from coordinator.store.records import Run

_PART_BYTES = 1 << 20


class FederationServicer(FederationServiceServicer):
    """Operators start and stop runs, researchers propose them; sites register their node and wait for work."""

    def __init__(
        self, service: FederationService, proposals: ProposalService, models: KeptModels, waiting: WaitingSites
    ) -> None:
        self._service = service
        self._proposals = proposals
        self._models = models
        self._waiting = waiting

    def StartRun(self, request: wire.StartRunRequest, context: grpc.ServicerContext) -> wire.StartRunResponse:
        """Complete, sign and queue the plan."""
        run = self._service.start_run(request.plan, actor=actor_of(context), wanted=context.is_active)
        return wire.StartRunResponse(run=_run(run))

    def GetRun(self, request: wire.GetRunRequest, context: grpc.ServicerContext) -> wire.GetRunResponse:
        """One run with its plan and result."""
        return wire.GetRunResponse(run=_run(self._service.run(request.id, asker=asker_of(context))))

    def ListRuns(self, request: wire.ListRunsRequest, context: grpc.ServicerContext) -> wire.ListRunsResponse:
        """A page of runs without plan and result."""
        runs, more = self._service.runs(after=request.after, limit=request.limit, asker=asker_of(context))
        return wire.ListRunsResponse(runs=[_run(run, whole=False) for run in runs], next=runs[-1].id if more else "")

    def WatchRun(self, request: wire.WatchRunRequest, context: grpc.ServicerContext) -> Iterator[wire.WatchRunResponse]:
        """A run at each change."""
        for run in self._service.watch(request.id, asker=asker_of(context), wanted=context.is_active):
            yield wire.WatchRunResponse(run=_run(run))

    def FetchModel(
        self, request: wire.FetchModelRequest, context: grpc.ServicerContext
    ) -> Iterator[wire.FetchModelResponse]:
        """A finished model, in parts."""
        run = self._service.run(request.id, asker=asker_of(context))
        with self._models.file(run, best=request.best).open("rb") as file:
            while data := file.read(_PART_BYTES):
                yield wire.FetchModelResponse(data=data)

    def GetOffer(self, request: wire.GetOfferRequest, context: grpc.ServicerContext) -> wire.GetOfferResponse:
        """What may be asked, and of how many sites."""
        del request, context
        return wire.GetOfferResponse(offered=canonical_json(self._service.offered()))

    def ProposeRun(self, request: wire.ProposeRunRequest, context: grpc.ServicerContext) -> wire.ProposeRunResponse:
        """Keep a researcher's signed request."""
        try:
            proposal = Proposal(
                signed=from_signed(request.request),
                verify_key=request.verify_key,
                certificate=request.certificate.decode(errors="replace"),
                endorsement=request.endorsement,
            )
        except ValidationError as error:
            raise PlanInvalid(problem=problem_of(error)) from None
        run = self._proposals.propose(proposal, researcher=peer_of(context).name)
        return wire.ProposeRunResponse(run=_run(run))

    def ApproveRun(self, request: wire.ApproveRunRequest, context: grpc.ServicerContext) -> wire.ApproveRunResponse:
        """Sign and queue a proposed plan."""
        return wire.ApproveRunResponse(run=_run(self._proposals.approve(request.id, actor=actor_of(context))))

    def DeclineRun(self, request: wire.DeclineRunRequest, context: grpc.ServicerContext) -> wire.DeclineRunResponse:
        """End a proposal."""
        run = self._proposals.decline(request.id, request.reason, actor=actor_of(context))
        return wire.DeclineRunResponse(run=_run(run))

    def StopRun(self, request: wire.StopRunRequest, context: grpc.ServicerContext) -> wire.StopRunResponse:
        """Ask a run to end."""
        return wire.StopRunResponse(run=_run(self._service.stop_run(request.id, actor=actor_of(context))))

    def ResumeRun(self, request: wire.ResumeRunRequest, context: grpc.ServicerContext) -> wire.ResumeRunResponse:
        """Queue a training that failed once more."""
        return wire.ResumeRunResponse(run=_run(self._service.resume_run(request.id, actor=actor_of(context))))

    def RegisterNode(
        self, request: wire.RegisterNodeRequest, context: grpc.ServicerContext
    ) -> wire.RegisterNodeResponse:
        """Store the calling site's node key; the SuperLink admits it a moment later."""
        self._service.register_node(
            SiteId(peer_of(context).name), request.public_key, protocol_digest=request.protocol_digest
        )
        return wire.RegisterNodeResponse()

    def GetFederationInfo(
        self, request: wire.GetFederationInfoRequest, context: grpc.ServicerContext
    ) -> wire.GetFederationInfoResponse:
        """The fleet port's address and the bundles that run."""
        del request, context
        info = self._service.info()
        return wire.GetFederationInfoResponse(
            fleet_address=info.fleet_address,
            root=info.root,
            fab_digests=info.bundles,
            protocol_digest=info.protocol_digest,
        )

    @without_thread
    def Await(self, request: wire.AwaitRequest, context: grpc.ServicerContext, outlet: Outlet) -> None:
        """Tell the calling site whether work waits, now and at each change."""
        del request
        self._waiting.enter(SiteId(peer_of(context).name), AwaitingSite(outlet))


class AwaitingSite:
    """The `Line` to a site that waits."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self.end = outlet.end
        self.on_end = outlet.on_end

    def send(self, notice: Notice) -> None:
        """Send a notice."""
        self._outlet.send(wire.AwaitResponse(work=notice == "work"))


def _run(run: "Run", *, whole: bool = True) -> wire.Run:
    return wire.Run(
        id=run.id,
        state=run.state,
        site_ids=run.plan.roster,
        started_at=to_timestamp(run.started_at) if run.started_at else None,
        ended_at=to_timestamp(run.ended_at) if run.ended_at else None,
        plan=canonical_json(run.plan) if whole else b"",
        result=run.result.encode() if whole else b"",
        problem=run.problem,
        progress=run.progress,
        researcher=run.plan.researcher,
        aim=run.plan.aim,
    )
