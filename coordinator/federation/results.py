"""The results of a training run: figures per round and site, the model's file and digest, refusals and reasons."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from coordinator.federation.grid import Answer
from shared.federation import records
from shared.frozen import Frozen
from shared.ids import Sha256, SiteId


class SiteFigures(Frozen):
    """One site's figures of one round; `None` where the plan did not ask or the site withheld.

    Of a masked run only the AUC: with the others' numbers of images a sum would give that of a site that withheld it.
    """

    site_id: SiteId
    images: int | None = None  # validation images from which `auc` is computed
    auc: float | None = None
    loss: float | None = None


class RoundResult(Frozen):
    """One round: of a masked run the figures of all sites' images together, else means over the sites that reported."""

    round: int
    seconds: float | None = None  # from the end of the round before; rounds of earlier releases lack it
    training_images: int
    training_loss: float | None
    auc: float | None
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


def training_result(
    answers: Sequence[Answer], folder: Path, *, previous: TrainingResult | None, seconds: Mapping[int, float]
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
    return TrainingResult(
        rounds=everything,
        refusals=(previous.refusals if previous else ()) + refused,
        model=model.name,
        model_sha256=Sha256(hashlib.sha256(model.read_bytes()).hexdigest()) if model.exists() else None,
    )


def checkpoint_file(folder: Path, server_round: int) -> Path:
    """Where the model after round `server_round` lies."""
    return folder / f"round-{server_round}.safetensors"


def _round(server_round: int, answers: Sequence[Answer], seconds: float | None) -> RoundResult:
    useful = [answer for answer in answers if answer.refusal is None]
    trained = [answer.metrics for answer in useful if answer.kind == "train" and records.LOSS in answer.metrics]
    evaluated = [answer.metrics for answer in useful if answer.kind == "evaluate" and records.LOSS in answer.metrics]
    return RoundResult(
        round=server_round,
        seconds=seconds,
        training_images=int(sum(metrics[records.EXAMPLES] for metrics in trained)),
        training_loss=_mean(trained, records.LOSS),
        auc=_mean(evaluated, records.AUC),
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
