"""What may be asked of the sites under an edition of the protocol: its cohort, labels of its dictionary, our models."""

from shared.errors.federation import TooFewSites
from shared.federation.asked import definition_asked
from shared.federation.cell_policy import CellPolicy
from shared.federation.cohort import definition_of
from shared.federation.filter import check_filters
from shared.federation.labels import check_label, learnable
from shared.federation.plan import PlanRequest, Purpose, check_request
from shared.federation.task import MODEL_NAMES
from shared.frozen import Frozen
from shared.ids import Sha256
from shared.protocol.cohort import CohortDefinition
from shared.protocol.loader import protocol_with


class Label(Frozen):
    """A clinical field that can be learned: `yes` or `no` of an examination."""

    name: str
    title: str
    meaning: str


class Offer(Frozen):
    """What a plan may name."""

    protocol_digest: Sha256
    cohort: CohortDefinition
    labels: tuple[Label, ...]
    models: tuple[str, ...]

    def check(self, request: PlanRequest) -> None:
        """Raise `PlanInvalid` or `InvalidArgument` where a request names what is not offered, or contradicts itself."""
        check_request(request)
        if request.training is not None:
            check_label(request.training.label, self.protocol_digest)
            check_filters(request.training.filter, definition_of(self.protocol_digest))
        if request.statistics is not None:
            CellPolicy.named(request.statistics.policy)
            definition_asked(request.statistics, self.protocol_digest)


class Offered(Frozen):
    """What a federation offers, and of how many sites the agreement covers each purpose: never which ones."""

    offer: Offer
    sites: dict[Purpose, int]

    def check(self, request: PlanRequest) -> None:
        """As `Offer.check`; raises `TooFewSites`, too."""
        self.offer.check(request)
        if self.sites[request.purpose] < request.minimum_sites:
            raise TooFewSites(present=str(self.sites[request.purpose]), minimum=str(request.minimum_sites))


def offer_of(protocol_digest: Sha256) -> Offer:
    """What is offered under the protocol with that digest; raises `ProtocolMismatch` when this release has none."""
    protocol = protocol_with(protocol_digest)
    fields = map(protocol.clinical.named, learnable(protocol_digest))
    labels = tuple(Label(name=field.name, title=field.title, meaning=field.meaning) for field in fields)
    return Offer(protocol_digest=protocol_digest, cohort=protocol.cohort, labels=labels, models=MODEL_NAMES)
