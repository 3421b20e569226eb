"""What a plan asks of this site, in words for a person who decides on it."""

from collections.abc import Iterator

from shared.counts import counted
from shared.federation.plan import EvaluationTask, Plan
from shared.federation.task import CT, Privacy, StatisticsTask, TrainingTask
from shared.signed import Signed


def summary(plan: Plan) -> str:
    """The plan in a line."""
    if plan.training is not None:
        return f"training of {plan.training.model} on {plan.training.label}, {_masks(plan.training)}"
    if plan.evaluated is not None:
        return f"evaluation of the model of run {plan.evaluated.run} on {plan.evaluated.training.label}"
    task = plan.statistics
    parts = (*_histograms(task), *_tables(task)) if task is not None else ()
    return f"statistics on the cohort {task.cohort if task else ''}{': ' if parts else ''}{'; '.join(parts)}"


def plan_in(document: str) -> Plan:
    """The plan in the JSON that the coordinator signed, whose signature was verified when it came."""
    return Plan.model_validate_json(Signed.model_validate_json(document).document)


def words_of(plan: Plan) -> tuple[tuple[str, str], ...]:
    """What is asked, by whom and what for, and what would leave: pairs of a heading and its text, safe to print."""
    return tuple(
        (heading, "".join(c if c.isprintable() else "?" for c in text)) for heading, text in _words(plan) if text
    )


def _words(plan: Plan) -> Iterator[tuple[str, str]]:
    yield ("Run", plan.run)
    yield ("Purpose", plan.purpose)
    yield ("Aim", plan.aim)
    yield ("Who asks", plan.researcher or "the coordinator's operator")
    yield ("Sites", f"{', '.join(plan.roster)}; at least {plan.minimum_sites} must answer")
    yield ("Good until", f"{plan.expires_at.astimezone():%Y-%m-%d %H:%M}")
    if plan.training is not None:
        yield from _of_training(plan.training)
    if plan.evaluated is not None:
        yield from _of_evaluation(plan.evaluated)
    if plan.statistics is not None:
        yield from _of_statistics(plan.statistics)


def _of_training(task: TrainingTask) -> Iterator[tuple[str, str]]:
    passes = counted(task.local_epochs, "pass")
    yield ("Label", f"{task.label}, of {_images(task)} whose patients have it")
    yield ("Only", _part(task))
    yield ("Model", f"{task.model}, on images of {task.image_size} x {task.image_size}")
    yield ("Rounds", f"{task.rounds}, each of {passes} over the images here, by {task.strategy}")
    if task.early_stop is not None:
        yield ("Ends early", f"after {counted(task.early_stop.patience, 'round')} without better validation figures")
    if task.privacy is not None:
        yield ("Privacy", _private(task.privacy))
    yield ("Masks", "yes" if task.masked else "no")
    yield ("Leaves each round", _MASKED if task.masked else _UNMASKED)
    if task.site_metrics:
        figures = "AUC, to two decimals" if task.masked else "loss and AUC"
        yield ("Leaves besides", f"this site's own {figures}, {_ALLOWED}")
    if task.test_share:
        yield ("Leaves at the end", _TESTED)
    if task.baseline:
        yield ("Trains besides", "a model of this site alone, whose AUC of test patients leaves likewise")
    if task.package is not None:
        yield ("Package", f"the installed wheel of the model, {task.package}")


def _of_evaluation(task: EvaluationTask) -> Iterator[tuple[str, str]]:
    yield ("Label", f"{task.training.label}, of {_images(task.training)} whose patients have it")
    yield ("Only", _part(task.training))
    yield ("Model", f"{task.training.model}, as run {task.run} left it after round {task.round}")
    yield ("Leaves", _TESTED)


def _of_statistics(task: StatisticsTask) -> Iterator[tuple[str, str]]:
    yield ("Cohort", task.cohort)
    yield ("Only", _part(task))
    yield ("Options", "" if task.options == "{}" else task.options)
    yield ("Histograms", "; ".join(_histograms(task)))
    yield ("Tables", "; ".join(_tables(task)))
    yield ("Means", "; ".join(f"{each.variable} within {each.low:g} and {each.high:g}" for each in task.means))
    if task.privacy is not None:
        yield ("Privacy", f"whole-number noise on each count for an epsilon of {task.privacy.epsilon:g}; {_ONCE}")
    yield ("Small cells", f"hidden in the pooled table by the policy {task.policy}")
    which = " in the bins and categories of these" if task.kinds != ("cohort",) else ""
    sums = ", sums of values and of their squares" if task.means else ""
    yield ("Leaves", f"counts of patients, studies and series{which}{sums}, {_UNDER_MASKS}")


def _histograms(task: StatisticsTask) -> Iterator[str]:
    for each in task.histograms:
        edges = ", ".join(f"{edge:g}" for edge in each.edges)
        yield f"{each.variable}{' in bins between ' if edges else ''}{edges}"


def _tables(task: StatisticsTask) -> Iterator[str]:
    yield from (f"{table.rows} by {table.columns}" for table in task.tables)


_ONCE = "each patient counts once, by the first study and its first series"
_UNDER_MASKS = "under masks that cancel only in the sum over all sites"


_MASKED = (
    "the model's weights, the number of images, the loss and histograms of predictions, under masks that cancel only in"
    " the sum over all sites"
)
_UNMASKED = (
    "the model's weights and the number of images of this site, without masks: the number of images of each class can"
    " be worked out from them"
)


_ALLOWED = "where policy and enough cases of each class allow it"
_TESTED = (
    "histograms of predictions for patients whom no round saw, under masks that cancel only in the sum over all sites;"
    f" this site's own AUC with its interval, to two decimals, {_ALLOWED}"
)


def _images(task: TrainingTask) -> str:
    return f"CT studies, {task.model_options.slices} slices of each," if task.model == CT else "frontal radiographs"


def _part(task: TrainingTask | StatisticsTask) -> str:
    return "; ".join(each.words for each in task.filter)


def _private(privacy: Privacy) -> str:
    return (
        f"noise of {privacy.noise_multiplier:g} times the clip norm {privacy.clip_norm:g} on every step, with 1 in"
        f" {privacy.batches} patients and an image of each; it covers the weights, not the numbers of images nor the"
        " histograms and figures of validation and test"
    )


def _masks(task: TrainingTask) -> str:
    return "under masks" if task.masked else "without masks"
