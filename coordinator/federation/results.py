"""The results of a training run: figures per round and site, the model's file and digest, refusals and reasons."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coordinator.federation.figures import Interval, PooledFigures
from shared.errors.federation import PlanInvalid
from shared.federation import records
from shared.federation.plan import EvaluationRequest, EvaluationTask
from shared.federation.task import TrainingTask
from shared.frozen import Frozen
from shared.ids import Sha256, SiteId

if TYPE_CHECKING:  # it imports Flower, which a coordinator without the extra `federation` has not
    from coordinator.federation.grid import Answer


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


def training_result(
    answers: Sequence["Answer"], folder: Path, *, previous: TrainingResult | None, seconds: Mapping[int, float]
) -> TrainingResult:
    """Everything so far: the rounds of `previous`, from before a restart, and those in `answers`.

    `seconds` says of each of the latter how long it took.
    """
    evaluated = sorted({answer.server_round for answer in answers if answer.kind == "evaluate"})
    rounds = tuple(
        _round(number, [answer for answer in answers if answer.server_round == number], seconds.get(number))
        for number in evaluated
    )
    refused = tuple(
        Refusal(round=answer.server_round, site_id=answer.site, reason=answer.refusal)
        for answer in answers
        if answer.refusal and answer.site
    )
    everything = (previous.rounds if previous else ()) + rounds
    model = checkpoint_file(folder, everything[-1].round if everything else 0)
    best = best_round(everything)
    return TrainingResult(
        rounds=everything,
        refusals=(previous.refusals if previous else ()) + refused,
        model=model.name,
        model_sha256=_digest(model),
        best=best,
        best_sha256=None
        if best is None or checkpoint_name(best) == model.name
        else _digest(checkpoint_file(folder, best)),
        tests=previous.tests if previous else (),
        alone=previous.alone if previous else (),
    )


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


def site_tests(answers: Iterable["Answer"], kind: str) -> tuple[SiteTest, ...]:
    """What each site told of a message at the end of a training; of several answers the last counts."""
    reported = {
        answer.site: SiteTest(site_id=answer.site, auc=_interval(answer.metrics))
        for answer in answers
        if answer.kind == kind and answer.site and records.LOW in answer.metrics
    }
    return tuple(reported[site] for site in sorted(reported))


def _interval(metrics: Mapping[str, float]) -> Interval | None:
    value, low, high = (metrics[name] for name in (records.AUC, records.LOW, records.HIGH))
    return Interval(value=value, low=low, high=high) if metrics[records.FIGURES] else None


def _digest(file: Path) -> Sha256 | None:
    return Sha256(hashlib.sha256(file.read_bytes()).hexdigest()) if file.exists() else None


def checkpoint_name(server_round: int) -> str:
    """The name of the file of the model after round `server_round`."""
    return f"round-{server_round}.safetensors"


def checkpoint_file(folder: Path, server_round: int) -> Path:
    """Where it lies."""
    return folder / checkpoint_name(server_round)


def _round(server_round: int, answers: Sequence["Answer"], seconds: float | None) -> RoundResult:
    useful = [answer for answer in answers if answer.refusal is None]
    trained = [answer.metrics for answer in useful if answer.kind == "train" and records.LOSS in answer.metrics]
    evaluated = [answer.metrics for answer in useful if answer.kind == "evaluate" and records.LOSS in answer.metrics]
    return RoundResult(
        round=server_round,
        seconds=seconds,
        training_images=int(sum(metrics[records.EXAMPLES] for metrics in trained)),
        training_loss=_mean(trained, records.LOSS),
        auc=_mean(evaluated, records.AUC),
        validation_loss=next(
            (answer.metrics[records.LOSS] for answer in useful if answer.kind == "evaluate" and answer.summed),
            _mean(evaluated, records.LOSS),
        ),
        sites=tuple(
            _figures(answer.site, answer.metrics)
            for answer in useful
            if answer.kind == "evaluate" and answer.site and records.AUC in answer.metrics
        ),
        summed=next((answer.summed for answer in useful if answer.kind == "evaluate" and answer.summed), ()),
    )


def _figures(site: SiteId, metrics: Mapping[str, float]) -> SiteFigures:
    if not metrics[records.FIGURES]:
        return SiteFigures(site_id=site)
    images = metrics.get(records.EXAMPLES)
    return SiteFigures(
        site_id=site,
        images=None if images is None else int(images),
        auc=metrics[records.AUC],
        loss=metrics.get(records.LOSS),
    )


def _mean(answers: Iterable[Mapping[str, float]], figure: str) -> float | None:
    """The mean of a figure over the answers that give it, by their numbers of images."""
    pairs = [(metrics[records.EXAMPLES], metrics[figure]) for metrics in answers if metrics[records.FIGURES]]
    total = sum(images for images, _ in pairs)
    return sum(images * value for images, value in pairs) / total if total else None


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
