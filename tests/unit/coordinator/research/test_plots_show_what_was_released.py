"""Plots and model cards show what was released, with its intervals, and what was withheld as withheld."""

import random
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from coordinator.cohort.pooling import released_counts
from coordinator.cohort.quantiles import numbers_of
from coordinator.cohort.released import ReleasedCell, ReleasedTable
from coordinator.cohort.releases import Release
from coordinator.federation.figures import pooled_figures
from coordinator.federation.results import (
    Interval,
    KeptModel,
    ModelTest,
    Refusal,
    RoundResult,
    SiteFigures,
    SiteTest,
    TrainingResult,
)
from coordinator.research.card import model_card
from coordinator.research.plots.canvas import marks, write
from coordinator.research.plots.cohort import plot_cohort
from coordinator.research.plots.counts import plot_histograms, plot_tables
from coordinator.research.plots.learning import plot_learning
from coordinator.research.plots.survival import plot_survival
from coordinator.research.plots.testing import plot_calibration, plot_forest, plot_roc
from shared.federation.cell_policy import CellPolicy
from shared.federation.plan import Member, PlanRequest, complete_plan
from shared.federation.task import TrainingTask
from shared.ids import RunId, Sha256, SiteId
from shared.protocol.loader import load_protocol
from site_node.federate.counting import count
from tests.factories.cohorts import STAY, stay_cell, stays
from tests.factories.libraries import by_the_sheet

SHA = Sha256("0" * 64)
SITES = [SiteId(str(200_001 + place)) for place in range(10)]
SHY = SITES[-1]  # withholds its own figures


def scores(
    draw: np.random.Generator, low: float, high: float, patients: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.histogram(draw.beta(low, high, patients), bins=1000, range=(0, 1))[0]


@pytest.fixture(scope="module")
def result() -> TrainingResult:
    draw = np.random.default_rng(3)
    figures = pooled_figures(np.stack([scores(draw, 2, 4, 180), scores(draw, 4, 2, 90)]), 0.5, minimum=11)
    kept = KeptModel(round=2, file="round-2.safetensors", sha256=SHA, state_sha256=SHA)
    tested = tuple(
        SiteTest(site_id=site, auc=None if site == SHY else Interval(value=0.7, low=0.6, high=0.8)) for site in SITES
    )
    return TrainingResult(
        rounds=tuple(
            RoundResult(
                round=number,
                training_images=1234,
                training_loss=1 / number,
                auc=0.6 + number / 20,
                sites=tuple(SiteFigures(site_id=site, auc=None if site == SHY else 0.6) for site in SITES),
            )
            for number in (1, 2, 3)
        ),
        refusals=(Refusal(round=1, site_id=SITES[0], reason="SITE_POLICY: no"),),
        model="round-3.safetensors",
        model_sha256=SHA,
        best=2,
        tests=(ModelTest(model=kept, pooled=figures, sites=tested, worst=SITES[1], summed=tuple(SITES)),),
        alone=(SiteTest(site_id=SITES[1], auc=Interval(value=0.55, low=0.4, high=0.7)),),
    )


@pytest.fixture(scope="module")
def table() -> ReleasedTable:
    protocol, policy = load_protocol(), CellPolicy.named("cms-11")
    counts = count(protocol.cohort, by_the_sheet(random.Random("plots"), 150))
    shown = released_counts(protocol.cohort, Release(frozenset(SITES), counts, policy, {}), [], seed=b"")
    return ReleasedTable(
        id=RunId.random(),
        definition=protocol.cohort,
        definition_digest=protocol.cohort.digest,
        protocol_digest=protocol.digest,
        policy=policy.name,
        roster_size=10,
        site_count=10,
        computed_at=datetime.now(UTC),
        cells=tuple(ReleasedCell(name=cell, count=number, suppressed=number is None) for cell, number in shown.items()),
    )


def svg(figure: Figure, folder: Path) -> str:
    write(figure, folder, "plot")
    return (folder / "plot.svg").read_text(encoding="utf-8")


def test_every_cell_is_a_number_or_said_to_be_hidden(table: ReleasedTable, tmp_path: Path) -> None:
    """Of each variable, every count that is not 0 stands in the plot, and `hidden` as often as a count is."""
    text = svg(plot_cohort(table), tmp_path)
    counts = [table.counts[cell] for variable in table.definition.variables for cell in variable.cells]
    assert None in counts
    assert text.count(">hidden<") == counts.count(None)
    assert all(f">{number:,}<" in text for number in counts if number)


def test_histograms_and_tables_say_what_is_hidden(table: ReleasedTable, tmp_path: Path) -> None:
    """Every bin and every cell of a filled row and column is a number or said to be hidden."""
    histograms, tables = plot_histograms(table), plot_tables(table)
    assert histograms is not None
    assert tables is not None
    counts = [table.counts[f"{each.name}/{band.label}"] for each in numbers_of(table) for band in each.categories]
    text = svg(histograms, tmp_path)
    assert text.count(">hidden<") == counts.count(None)
    assert all(f">{number:,}<" in text for number in counts if number)
    assert plot_survival(table) is None
    text = svg(tables, tmp_path)
    counts = [
        table.counts[cell]
        for each in table.definition.tables
        for row in table.definition.table_cells(each)
        for cell in row
    ]
    assert text.count(">hidden<") == counts.count(None) > 0
    assert all(f">{number:,}<" in text for number in counts if number)


def test_a_curve_says_who_is_at_risk(tmp_path: Path) -> None:
    """And where it is a band, that counts are hidden."""
    deaths = stay_cell(STAY.labels[0], "died")
    for hidden, words in (([], ">10 died<"), ([deaths], ">hidden died<")):
        figure = plot_survival(stays([10] * 5, [10] * 5, hidden))
        assert figure is not None
        text = svg(figure, tmp_path)
        assert words in text
        assert ">100 at risk<" in text


def test_equal_results_are_equal_files(table: ReleasedTable, result: TrainingResult, tmp_path: Path) -> None:
    """A plot has no date and no name drawn at random, so it can be compared and published again."""
    for place in ("one", "other"):
        (tmp_path / place).mkdir()
        write(plot_learning(result), tmp_path / place, "learning")
        write(plot_cohort(table), tmp_path / place, "cohort")
    names = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert names == ["cohort.png", "cohort.svg", "learning.png", "learning.svg"]
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes() for name in names)


def test_lines_differ_without_colour() -> None:
    """Any thirty sites have different marks, whatever their colours."""
    drawn = [(mark.marker, mark.linestyle) for mark, _ in zip(marks(), range(30), strict=False)]
    assert len(set(drawn)) == 30


def test_a_site_that_withheld_its_figures_has_no_line(result: TrainingResult, tmp_path: Path) -> None:
    """Neither in the learning curve nor in the forest; all others, and all together, are there."""
    learning, forest = (
        svg(figure, tmp_path) for figure in (plot_learning(result), plot_forest(result.tests[0], result.alone))
    )
    assert SHY not in learning + forest
    assert all(site in learning and site in forest for site in SITES if site != SHY)
    assert f"site {SITES[1]}, the worst" in forest
    assert f"site {SITES[1]}, alone" in forest
    assert "all 270 patients" in forest


def test_curves_name_their_intervals(result: TrainingResult, tmp_path: Path) -> None:
    """The ROC states the AUC with its interval, the calibration its slope."""
    pooled = result.tests[0].pooled
    assert pooled.auc is not None
    assert f"AUC {pooled.auc.value:.2f} ({pooled.auc.low:.2f} to {pooled.auc.high:.2f})" in svg(
        plot_roc(pooled), tmp_path
    )
    assert "slope" in svg(plot_calibration(pooled), tmp_path)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_interval_whose_end_rounding_put_beyond_its_figure_is_drawn(result: TrainingResult, value: float) -> None:
    """A specificity of 1 whose interval ends at 1 - 1e-16, and one of 0 that begins above it."""
    beyond = Interval(value=value, low=1e-16, high=1 - 1e-16)
    pooled = result.tests[0].pooled.model_copy(update={"sensitivity": beyond, "specificity": beyond, "auc": beyond})
    test = result.tests[0].model_copy(update={"pooled": pooled})
    assert plot_roc(pooled).axes
    assert plot_forest(test).axes


def test_a_card_says_what_plan_and_result_say(result: TrainingResult) -> None:
    """The aim, the model's digest, every figure with its interval, the worst site, and what was withheld."""
    task = TrainingTask(label="pneumonia")
    members = tuple(Member(site_id=site, fingerprint=f"SHA256:{place:043}") for place, site in enumerate(SITES))
    request = PlanRequest(purpose="training", aim="Find pneumonia early.", training=task)
    plan = complete_plan(request, members=members, protocol_digest=SHA)
    card = model_card(plan, result)
    assert "Find pneumonia early." in card
    assert SHA in card
    assert "1,234 training images" in card
    assert f"| {SITES[1]} (worst) | 0.70 (0.60 to 0.80) | 0.55 (0.40 to 0.70) |" in card
    assert f"| {SHY} | not shown |" in card
    assert "1 hospital refused a part" in card
    assert "model of round 2 (the best) | 95 % interval |" in card
    withheld = result.tests[0].model_copy(update={"sites": (SiteTest(site_id=SHY),)})
    assert "No hospital showed" in model_card(plan, result.model_copy(update={"tests": (withheld,)}))
    assert "simulated" in model_card(plan, result, simulated=True)
    untested = model_card(plan, result.model_copy(update={"tests": ()}))
    assert "no test" in untested
