"""The results of a training run: figures per round and site, the model's file and digest, refusals and reasons."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from shared.errors.federation import PlanInvalid
from shared.federation.plan import EvaluationRequest, EvaluationTask
from shared.federation.task import TrainingTask
from shared.frozen import Frozen
from shared.ids import Sha256, SiteId


class Interval(Frozen):
    """A figure and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class Point(Frozen):
    """Patients with neighbouring scores, and what a threshold at the lowest of these would do."""

    predicted: float  # mean probability
    observed: Interval  # share of positive patients
    sensitivity: float
    specificity: float


class PooledFigures(Frozen):
    """Of a model and all test patients; `None` where a class has too few of them, or a figure cannot be computed.

    `threshold` is the least probability that left at least the plan's share of the validation patients who are negative
    below it: the test had no part in it.
    """

    patients: int
    auc: Interval | None = None
    threshold: float | None = None
    sensitivity: Interval | None = None
    specificity: Interval | None = None
    brier: Interval | None = None
    calibration_slope: Interval | None = None
    calibration_intercept: Interval | None = None
    points: tuple[Point, ...] = ()  # of the ROC and the calibration curve, by ascending score


class SiteFigures(Frozen):
    """One site's figures of one round; `None` where the plan did not ask or the site withheld.

    Of a masked run only the AUC: with the others' numbers of images a sum would give that of a site that withheld it.
    """

    site_id: SiteId
    images: int | None = None  # validation images from which `auc` is computed
    auc: float | None = None
    loss: float | None = None


class SiteTest(Frozen):
    """A site's own AUC of the test, to two decimals; `None` where it withheld it."""

    site_id: SiteId
    auc: Interval | None = None


class KeptModel(Frozen):
    """A round's model: its file in the run's folder, and digests of the file and of the state that travels."""

    round: int
    file: str
    sha256: Sha256
    state_sha256: Sha256


class ModelTest(Frozen):
    """What the test patients say of one model, which was chosen without them.

    `worst` is the site whose interval ends lowest, if below the pooled AUC; else no site can be told from the others.
    """

    model: KeptModel
    pooled: PooledFigures
    sites: tuple[SiteTest, ...]
    worst: SiteId | None
    summed: tuple[SiteId, ...]  # the sites in `pooled`


class RoundResult(Frozen):
    """One round: of a masked run the figures of all sites' images together, else means over the sites that reported."""

    round: int
    seconds: float | None = None  # from the end of the round before; rounds of earlier releases lack it
    training_images: int
    training_loss: float | None
    auc: float | None
    validation_loss: float | None = None
    sites: tuple[SiteFigures, ...]
    summed: tuple[SiteId, ...] = ()  # of a masked run: the sites in these figures


class Refusal(Frozen):
    """A site that refused its part in a round, and its reason."""

    round: int
    site_id: SiteId
    reason: str


class TrainingResult(Frozen):
    """Everything of a training run that may be shown."""

    rounds: tuple[RoundResult, ...]
    refusals: tuple[Refusal, ...]
    model: str  # file name in the run's folder
    model_sha256: Sha256 | None
    best: int | None = (
        None  # the round of the highest AUC on validation images, or where none has one of the least loss
    )
    best_sha256: Sha256 | None = None  # of that round's file, where it is another one than `model`
    stopped: str = ""  # why it ended before the plan's last round
    tests: tuple[ModelTest, ...] = ()  # of the best model, then of the last, where that is another one
    alone: tuple[SiteTest, ...] = ()  # of models that each site trained by itself, where the plan asked for them

    @property
    def files(self) -> tuple[str, ...]:
        """The models that must be kept: the best and the last."""
        return (*(() if self.best is None else (checkpoint_name(self.best),)), self.model)


def validation_figures(rounds: Sequence[RoundResult]) -> Sequence[tuple[float, int]]:
    """AUC and number of each round that has one; where none has, the negative loss: higher is better."""
    return [(entry.auc, entry.round) for entry in rounds if entry.auc is not None] or [
        (-entry.validation_loss, entry.round) for entry in rounds if entry.validation_loss is not None
    ]


def best_round(rounds: Sequence[RoundResult]) -> int | None:
    """The first round of the highest pooled AUC; where no round has one, of the least loss; `None` without either."""
    ranks = validation_figures(rounds)
    return max(ranks, key=lambda rank: (rank[0], -rank[1]))[1] if ranks else None


def worst_site(sites: Iterable[SiteTest], pooled: Interval | None) -> SiteId | None:
    """The site whose interval ends lowest, if that is below the pooled AUC."""
    ends = [(site.auc.high, site.site_id) for site in sites if site.auc is not None]
    lowest, site_id = min(ends, default=(1.0, None))
    return site_id if pooled is not None and lowest < pooled.value else None


def checkpoint_name(server_round: int) -> str:
    """The name of the file of the model after round `server_round`."""
    return f"round-{server_round}.safetensors"


def checkpoint_file(folder: Path, server_round: int) -> Path:
    """Where it lies."""
    return folder / checkpoint_name(server_round)


def evaluation_of(request: EvaluationRequest, training: TrainingTask, result: TrainingResult) -> EvaluationTask:
    """The plan's part of an evaluation of the run with that result; raises `PlanInvalid` without a tested model."""
    wanted = result.best if request.model == "best" else result.rounds[-1].round
    test = next((test for test in result.tests if test.model.round == wanted), None)
    if test is None:
        raise PlanInvalid(problem="that run has no tested model of that kind")
    return EvaluationTask(
        run=request.run,
        round=test.model.round,
        sha256=test.model.sha256,
        state_sha256=test.model.state_sha256,
        threshold=test.pooled.threshold,
        training=training,
    )
