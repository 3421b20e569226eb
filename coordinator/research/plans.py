"""What is asked, as a value: the same in Python, in TOML and in JSON, and what is signed is its canonical JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Protocol, Self

from pydantic import ModelWrapValidatorHandler, ValidationError, model_validator

from coordinator.research.home import PROGRAM
from coordinator.research.simulation import Tried, simulate
from shared.errors.federation import PlanInvalid
from shared.errors.inputs import SourceMissing
from shared.federation.offer import offer_of
from shared.federation.plan import LEAST_SITES, EvaluationRequest, PlanRequest, Purpose, parse_request, problem_of
from shared.federation.task import StatisticsTask, TrainingTask
from shared.frozen import Frozen
from shared.ids import SiteId
from shared.protocol.loader import load_protocol
from shared.settings import load_settings

TEMPLATES: dict[Purpose, str] = {
    "evaluation": """\
purpose = "evaluation"
aim = ""                  # what for, in one sentence that every hospital reads
# sites = ["123456"]      # none: every site whose agreement covers it, but those that trained the model
minimum_sites = 3
timeout_seconds = 3600    # for one round of answers

[evaluation]
run = ""                  # the training, as `ricord-research runs` shows it
model = "best"            # or "last"
""",
    "statistics": """\
purpose = "statistics"
aim = ""                  # what for, in one sentence that every hospital reads
# sites = ["123456"]      # none: every site whose agreement covers it
minimum_sites = 3
timeout_seconds = 3600    # for one round of answers

[statistics]
cohort = "ricord"         # the protocol's cohort definition
policy = "cms-11"         # how small cells are hidden: cms-11, nhs-7-round-5 or min-k
# Without the following lines the whole cohort is counted. `ricord-research data` lists the variables.
# histograms = [{ variable = "age", edges = [30, 50, 70] }, { variable = "icu" }]  # bins, or categories
# means = [{ variable = "age", low = 18, high = 90 }]  # beside a histogram of it
# tables = [{ rows = "age", columns = "sex" }]  # of two variables of patients, of studies or of series
# privacy = { epsilon = 1.0 }  # each site adds noise to its counts before masks hide them
# filter = [{ variable = "sex", categories = ["female"] }]  # a part of the cohort, with `privacy` only
""",
    "training": """\
purpose = "training"
aim = ""                  # what for, in one sentence that every hospital reads
# sites = ["123456"]      # none: every site whose agreement covers it
minimum_sites = 3
timeout_seconds = 3600    # for one round of answers

[training]
model = "small-cnn"
label = "pneumonia"       # `ricord-research data` lists what can be learned
rounds = 3
# early_stop = { patience = 3, least_improvement = 0.001 }  # end after so many rounds without a better validation AUC
local_epochs = 4
image_size = 64           # pixels of each side
strategy = "fedavg"
masked = true             # updates are averaged under masks: nobody sees a single site's
# filter = [{ variable = "sex", categories = ["female"] }]  # a part of the cohort, where a hospital's policy allows it
seed = 0
""",
}


class Checking(Protocol):
    """What a federation offers, or a protocol: `shared.federation.offer`."""

    def check(self, request: PlanRequest) -> None:
        """Raise where a request names what is not offered."""


class Asked(Frozen):
    """What every plan of a researcher's says; a wrong value raises `PlanInvalid`, which names the field."""

    purpose: ClassVar[Purpose]

    aim: str  # what for, in a sentence that every hospital reads
    sites: tuple[SiteId, ...] = ()  # none: every site whose agreement covers the purpose
    minimum_sites: int = LEAST_SITES
    timeout_seconds: int = 3600  # for one round of answers

    @model_validator(mode="wrap")
    @classmethod
    def _in_a_sentence(cls, values: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            asked = handler(values)
            _ = asked.request
        except ValidationError as error:
            raise PlanInvalid(problem=problem_of(error)) from None
        return asked

    @property
    def request(self) -> PlanRequest:
        """The plan as it is signed, but for the researcher and the run."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        common = {name: fields.pop(name) for name in Asked.model_fields}
        return PlanRequest.model_validate({"purpose": self.purpose, **common, self.purpose: fields})

    def check(self, offered: Checking | None = None) -> Self:
        """This plan, once it holds and names what is offered; raises as `check_plan`."""
        check_plan(self.request, offered)
        return self

    def simulate(
        self, sites: Mapping[str, Path | str], *, policy: Path | None = None, address: str | None = None
    ) -> Tried:
        """Try it over folders of studies on this machine; see `coordinator.research.simulation.simulate`."""
        folders = {name: Path(folder).expanduser() for name, folder in sites.items()}
        return simulate(self.check().request, folders, policy=policy, address=address)


class Training(Asked, TrainingTask):
    """A model that is learned at the sites."""

    purpose = "training"


class Evaluation(Asked, EvaluationRequest):
    """A model that one of the researcher's trainings made, at sites that had no part in it."""

    purpose = "evaluation"


class Statistics(Asked, StatisticsTask):
    """A cohort that is counted at the sites, or those histograms and tables of it that are named."""

    purpose = "statistics"
    cohort: str = "ricord"


def read_plan(file: Path) -> PlanRequest:
    """The plan in a file, JSON where its name ends so and else TOML.

    Raises `SourceMissing`, `PlanInvalid`, and what `shared.settings.load_settings` raises, naming key and line.
    """
    if not file.is_file():
        raise SourceMissing(source=str(file))
    if file.suffix == ".json":
        return parse_request(file.read_bytes())
    return load_settings(file, PlanRequest, program=PROGRAM)


def check_plan(request: PlanRequest, offered: Checking | None = None) -> None:
    """Raise `PlanInvalid`, `InvalidArgument` or `TooFewSites` where a plan does not hold, or names what is not offered.

    Without what a federation offers, the protocol of this release decides.
    """
    if not request.aim.strip():
        raise PlanInvalid(problem="`aim` says in one sentence what it is for")
    if request.researcher or request.run:
        raise PlanInvalid(problem="the researcher and the run are named when it is signed")
    (offered or offer_of(load_protocol().digest)).check(request)
