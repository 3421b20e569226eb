"""A federation as a researcher works with it from a notebook; the commands are thin over the same calls."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from coordinator.research.home import ResearcherHome
from coordinator.research.plans import Asked, check_plan
from coordinator.research.run import Run
from shared.federation.offer import Offered
from shared.federation.plan import PlanRequest
from shared.member import member_channel
from shared.proto.ricord.v1 import federation_pb2 as wire
from shared.proto.ricord.v1.federation_pb2_grpc import FederationServiceStub
from shared.wire import UNARY_SECONDS, to_signed


class Federation:
    """What a researcher may ask of a federation, and their own runs. Each call raises what `member_channel` raises."""

    def __init__(self, home: ResearcherHome) -> None:
        self._home = home
        self._member = home.connecting()

    @classmethod
    def open(cls, home: Path | str) -> Self:
        """The federation in which the researcher of that home is enrolled; raises `NotEnrolled`."""
        return cls(ResearcherHome(Path(home).expanduser().absolute()))

    @contextmanager
    def calls(self) -> Iterator[FederationServiceStub]:
        """The coordinator's calls; the certificate is renewed first where that is due."""
        with member_channel(self._member) as channel:
            yield FederationServiceStub(channel)

    def offered(self) -> Offered:
        """What may be asked, and of how many sites."""
        with self.calls() as stub:
            answer = stub.GetOffer(wire.GetOfferRequest(), timeout=UNARY_SECONDS)
        return Offered.model_validate_json(answer.offered)

    def submit(self, plan: Asked | PlanRequest) -> Run:
        """Sign a plan and propose it: an operator approves or declines it, then each site decides.

        Raises as `check_plan`, and what the coordinator refuses it for.
        """
        request = plan.request if isinstance(plan, Asked) else plan
        check_plan(request, self.offered())
        proposal = self._home.sign(request)
        message = wire.ProposeRunRequest(
            request=to_signed(proposal.signed),
            verify_key=proposal.verify_key,
            certificate=proposal.certificate.encode(),
            endorsement=proposal.endorsement,
        )
        with self.calls() as stub:
            return Run(self, stub.ProposeRun(message, timeout=UNARY_SECONDS).run)

    def runs(self) -> list[Run]:
        """This researcher's runs, the oldest first; a run's result is read when it is asked for."""
        runs, request = list[Run](), wire.ListRunsRequest()
        with self.calls() as stub:
            while True:
                page = stub.ListRuns(request, timeout=UNARY_SECONDS)
                runs += [Run(self, each) for each in page.runs]
                if not page.next:
                    return runs
                request.after = page.next

    def run(self, run_id: str) -> Run:
        """One of this researcher's runs, by its id or a beginning; raises `NotFound`, `AmbiguousReference`."""
        with self.calls() as stub:
            return Run(self, stub.GetRun(wire.GetRunRequest(id=run_id), timeout=UNARY_SECONDS).run)
