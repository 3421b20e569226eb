"""What is shown of noisy counts: with intervals, small ones hidden, and nothing that needs exact ones."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.cohort.noisy import noisy_counts, within_of
from coordinator.cohort.quantiles import quantiles_of
from coordinator.cohort.released import ReleasedTable
from coordinator.cohort.rendering import footnote, rows
from coordinator.cohort.survival import survival_of
from coordinator.research.figures import cohort_rows
from coordinator.research.plots.canvas import write
from coordinator.research.plots.cohort import plot_cohort
from coordinator.research.plots.counts import plot_histograms
from shared.federation.asked import definition_asked
from shared.federation.cell_policy import CellPolicy
from shared.federation.histogram import Histogram
from shared.federation.noise import scale_of
from shared.federation.secure_sum.server import Sum
from shared.federation.task import CountPrivacy, StatisticsTask
from shared.protocol.cohort import TOTALS, Table
from shared.protocol.loader import load_protocol
from tests.factories.cohorts import stays, table_showing

PROTOCOL = load_protocol()
TASK = StatisticsTask(
    cohort=PROTOCOL.cohort.name,
    histograms=(Histogram(variable="stay", edges=(3, 7)),),
    tables=(Table(rows="stay", columns="outcome"),),
    privacy=CountPrivacy(epsilon=1),
)
DEFINITION = definition_asked(TASK, PROTOCOL.digest)


def pooled(figures: list[int]) -> Sum:
    """A sum of three sites."""
    total = np.array(figures, dtype=np.int64).view(np.uint64)
    return cast("Sum", SimpleNamespace(total=total, survivors=("1", "2", "3")))


def released(figures: list[int], policy: str = "cms-11") -> ReleasedTable:
    assert TASK.privacy is not None
    shown, noise = noisy_counts(DEFINITION, CellPolicy.named(policy), TASK.privacy, pooled(figures))
    table = table_showing(DEFINITION, shown, policy=policy).model_copy(update={"noise": noise})
    return ReleasedTable.model_validate_json(table.model_dump_json())


@given(
    st.lists(st.integers(-50, 200), min_size=DEFINITION.length, max_size=DEFINITION.length),
    st.sampled_from(["cms-11", "nhs-7-round-5", "min-5"]),
)
@settings(max_examples=50, deadline=None)
def test_no_small_or_negative_figure_is_shown(figures: list[int], policy: str) -> None:
    """All others are, rounded as the policy says; of what has no bound for a patient nothing is."""
    table, named = released(figures, policy), CellPolicy.named(policy)
    for cell, figure in zip(DEFINITION.cells, figures, strict=True):
        hidden = cell in TOTALS[1:] or figure <= named.highest
        assert table.counts[cell] == (None if hidden else named.shown(figure))


@pytest.fixture
def table() -> ReleasedTable:
    return released([100 - 3 * place for place in range(DEFINITION.length)])


def test_the_interval_is_in_the_table_its_rows_and_its_plots(table: ReleasedTable, tmp_path: Path) -> None:
    """With the epsilon; no interval reaches below 0, and what is hidden has none."""
    assert table.noise is not None
    within = table.noise.within
    said = f"(an epsilon of 1), and 95 in 100 counts lie within {within} of their figure"
    assert said in footnote(table)
    assert footnote(table).startswith("Noisy figures")
    for row in cohort_rows(table.model_dump(mode="json")):
        figure = row["count"]
        assert (row["low"], row["high"]) == (
            (None, None) if figure is None else (max(figure - within, 0), figure + within)
        )
    histograms = plot_histograms(table)
    assert histograms is not None
    for figure in (plot_cohort(table), histograms):
        write(figure, tmp_path, "plot")
        assert f"within {within}" in (tmp_path / "plot.svg").read_text(encoding="utf-8")


def test_nothing_is_made_of_noisy_counts_that_needs_exact_ones(table: ReleasedTable) -> None:
    """Neither quantiles, nor ranges, nor a curve of survival; of the same figures without noise there are."""
    exact = table.model_copy(update={"noise": None})
    assert quantiles_of(table) == []
    curve = stays([10] * 5, [10] * 5)
    assert survival_of(curve.model_copy(update={"noise": table.noise})) == []
    assert not [row for row in rows(table) if row.category.startswith("range")]
    assert quantiles_of(exact)
    assert survival_of(curve)


def test_a_table_without_noise_keeps_its_bytes(table: ReleasedTable) -> None:
    """So that earlier tables have their digest, and their rows no interval."""
    exact: dict[str, Any] = table.model_copy(update={"noise": None}).model_dump(mode="json")
    assert "noise" not in exact
    assert cohort_rows(exact).columns == ("cell", "count")


@pytest.mark.parametrize(("policy", "rounding"), [("cms-11", 0), ("nhs-7-round-5", 2), ("min-5", 0)])
def test_the_interval_holds_what_rounding_leaves_open(policy: str, rounding: int) -> None:
    """A count is further from its figure by half of what it was rounded to."""
    table = released([100] * DEFINITION.length, policy)
    assert table.noise is not None
    assert TASK.privacy is not None
    assert table.noise.within == within_of(scale_of(DEFINITION, TASK.privacy), 3) + rounding
