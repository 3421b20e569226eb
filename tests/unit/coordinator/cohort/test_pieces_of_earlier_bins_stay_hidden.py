"""What two sorts of bins tell together of a number is held to the strictest policy under which either was released."""

import pytest

from coordinator.cohort.pooling import released_counts, threshold_for
from coordinator.cohort.releases import Release
from shared.errors.federation import PlanInvalid, RunFailed
from shared.federation.cell_policy import CellPolicy
from shared.federation.histogram import Histogram
from shared.ids import SiteId
from shared.protocol.cohort import CohortDefinition
from tests.factories.drawn_statistics import ASKABLE, BASE, NUMBER, TEXTS, Kind, counted

SITES = frozenset(SiteId(str(number)) for number in (100_001, 100_002, 100_003))
BINNED = ASKABLE.sorted_by(Histogram(variable="x", edges=(4,)))


def items(piece: int) -> dict[Kind, int]:
    """So many studies between 3 and 4, where one sort of bins has an edge and the other has not yet."""
    return {(0.0, "a", "a"): 50, (3.0, "b", "a"): piece, (4.0, "a", "a"): 40, (7.0, "a", "a"): 60}


def release(definition: CohortDefinition, held: dict[Kind, int], policy: str, *earlier: Release) -> Release:
    new = Release(SITES, counted(definition, held), CellPolicy.named(policy), {}, definition)
    return new._replace(shown=released_counts(definition, new, earlier, seed=b"", protocol=BASE))


@pytest.mark.parametrize(("piece", "is_small"), [(5, True), (10, True), (11, False), (40, False), (0, False)])
@pytest.mark.parametrize("policies", [("cms-11", "min-3"), ("min-3", "cms-11"), ("cms-11", "cms-11")])
def test_of_a_piece_that_either_policy_hides(piece: int, is_small: bool, policies: tuple[str, str]) -> None:
    """Other bins of the same table show no cell from which it follows; of a piece that none hides they are shown."""
    first = release(BASE.having([NUMBER], ()), items(piece), policies[0])
    assert first.shown["x/mid"] == 40 + piece
    second = release(BASE.having([BINNED], ()), items(piece), policies[1], first)
    bins = [second.shown[cell] for cell in BINNED.cells[:2]]
    assert bins == ([None, None] if is_small else [50 + piece, 100])


def test_of_a_variable_that_is_sorted_otherwise_on_another_day() -> None:
    """Though others are sorted as before: which studies lie between the bins would follow from what came since."""
    first = release(BASE.having([NUMBER, TEXTS[0]], ()), items(40), "cms-11")
    later = {kind: count + 40 for kind, count in items(40).items()}
    with pytest.raises(RunFailed, match="the libraries have changed"):
        release(BASE.having([BINNED, TEXTS[0]], ()), later, "cms-11", first)
    with pytest.raises(RunFailed, match="the libraries have changed"):
        release(BASE.having([TEXTS[0], BINNED], ()), later, "cms-11", first)
    assert release(BASE.having([TEXTS[0]], ()), later, "cms-11", first).shown["patients"] == 350
    assert release(BASE.having([NUMBER, BINNED, TEXTS[0]], ()), later, "cms-11", first).shown


def test_a_sum_needs_more_honest_sites_than_may_be_asked_twice() -> None:
    """Of n sites with one that sides with the centre: `2t > n + 1`, and no roster of fewer than three has one."""
    for sites in range(3, 60):
        assert sites + 1 < 2 * threshold_for(sites) <= 2 * sites
    for few in range(3):
        with pytest.raises(PlanInvalid, match="too few"):
            threshold_for(few)
