"""A model card: what a trained model is, what it was learned from, what the test says, and where not to use it.

The sections are those of Mitchell et al. (Model Cards for Model Reporting, FAT* 2019). It says nothing that plan and
result do not.
"""

from collections.abc import Iterator, Sequence

from coordinator.federation.results import Interval, ModelTest, SiteTest, TrainingResult
from shared.counts import counted
from shared.errors.federation import PlanInvalid
from shared.federation.plan import Plan
from shared.federation.task import CT, TrainingTask

NOT_SHOWN = "not shown"
_UNTESTED = "The plan had no test: there is no figure that the choice of the model had no part in."
_LIMITS = """\
For research on `{label}` in images like those above. It is no medical device: nobody has shown what it does to the care
of patients, and no figure here is of a hospital that took no part, unless it says so.

The figures of one site are those of few patients: read their intervals. Where positive patients are more or less common
than here, predicted values and calibration differ. Nothing was examined by age, sex, origin or scanner."""


def model_card(plan: Plan, result: TrainingResult, *, simulated: bool = False) -> str:
    """The card in Markdown, of the last model and, where a test tells them apart, the best; raises `PlanInvalid`."""
    task = plan.training
    if task is None:
        raise PlanInvalid(problem="it holds no training")
    parts = [
        f"# {task.model} for `{task.label}`",
        plan.aim or "The plan states no aim.",
        "## The model",
        _table(("", ""), list(_about(plan, task, result, simulated=simulated))),
        "## What it was learned from",
        _data(plan, task, result),
        "## What the test says",
        *([_test(test, task, result) for test in result.tests] or [_UNTESTED]),
        *_sites(result),
        "## What it is for, and what not",
        _LIMITS.format(label=task.label),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _about(plan: Plan, task: TrainingTask, result: TrainingResult, *, simulated: bool) -> Iterator[tuple[str, str]]:
    yield "run", "simulated on one machine" if simulated else plan.run
    if plan.researcher:
        yield "asked by", plan.researcher
    yield "file", f"`{result.model}`, SHA-256 `{result.model_sha256 or NOT_SHOWN}`"
    if result.stopped:
        yield "ended", result.stopped
    of_ct = f"{task.model_options.slices} slices of a CT study, in a lung window from -1350 to 150 HU"
    images = of_ct if task.model == CT else "one frontal radiograph, standardised by itself"
    yield "input", f"{task.image_size} x {task.image_size} pixels, {images}"
    yield "output", f"the logit of `{task.label}` being yes"
    yield "learned by", f"{task.strategy}, {len(result.rounds)} of {task.rounds} rounds, seed {task.seed}"
    yield "updates", "summed under masks; no site's own was seen" if task.masked else "each site's own was seen"
    if result.best is not None:
        beside = f"; its model is `best.safetensors`, SHA-256 `{result.best_sha256}`" if result.best_sha256 else ""
        yield "best round", f"{result.best}, by the validation images{beside}"


def _data(plan: Plan, task: TrainingTask, result: TrainingResult) -> str:
    last = result.rounds[-1] if result.rounds else None
    images = f"{last.training_images:,} training images" if last else "no image"
    tested = f", {task.test_share:.0%} were kept for the test" if task.test_share else ""
    refused = len({each.site_id for each in result.refusals})
    return (
        f"{images} of the roster's {len(plan.sites)} hospitals, under the protocol `{plan.protocol_digest[:12]}`. "
        f"No patient is on two sides: {task.validation_share:.0%} chose the best round and the threshold{tested}."
        + (f" {counted(refused, 'hospital')} refused a part; the result says why." if refused else "")
    )


def _test(test: ModelTest, task: TrainingTask, result: TrainingResult) -> str:
    pooled = test.pooled
    threshold = NOT_SHOWN if pooled.threshold is None else f"{pooled.threshold:.2f}"
    figures: list[tuple[str, Interval | None]] = [
        ("AUC", pooled.auc),
        (f"sensitivity at a probability of {threshold}", pooled.sensitivity),
        (f"specificity there (wanted {task.specificity:.2f})", pooled.specificity),
        ("Brier score (0 is best)", pooled.brier),
        ("calibration slope (1 is best)", pooled.calibration_slope),
        ("calibration intercept (0 is best)", pooled.calibration_intercept),
    ]
    which = " (the file above)" if test.model.file == result.model else " (the best)"
    head = (f"{pooled.patients:,} test patients, model of round {test.model.round}{which}", "95 % interval")
    return _table(head, [(name, _interval(value)) for name, value in figures])


def _sites(result: TrainingResult) -> Iterator[str]:
    if not result.tests:
        return
    test, alone = result.tests[0], {each.site_id: each for each in result.alone}
    if not any(site.auc for site in test.sites):
        yield "No hospital showed a figure of its own."
        return
    rows = [
        (f"{site.site_id}{' (worst)' if site.site_id == test.worst else ''}", _auc(site), _auc(alone.get(site.site_id)))
        for site in test.sites
    ]
    yield _table((f"site, round {test.model.round}", "AUC, 95 % interval", "its own model, learned alone"), rows)
    if test.worst is None:
        yield "The intervals show no site to be worse than all sites together."


def _auc(site: SiteTest | None) -> str:
    return "" if site is None else _interval(site.auc)


def _interval(value: Interval | None) -> str:
    return NOT_SHOWN if value is None else f"{value.value:.2f} ({value.low:.2f} to {value.high:.2f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
