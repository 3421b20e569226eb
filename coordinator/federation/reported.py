"""From the sites' answers to the rounds of a training's result."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from coordinator.federation.grid import Answer
from coordinator.federation.results import (
    Interval,
    Refusal,
    RoundResult,
    SiteFigures,
    SiteTest,
    TrainingResult,
    best_round,
    checkpoint_file,
    checkpoint_name,
)
from shared.federation import records
from shared.ids import Sha256, SiteId


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


def site_tests(answers: Iterable[Answer], kind: str) -> tuple[SiteTest, ...]:
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
