"""Once the libraries have changed, no table splits up a cell that an earlier one hides, nor cuts its bins otherwise."""

from collections.abc import Sequence

import pytest

from coordinator.cohort.pooling import released_counts
from coordinator.cohort.releases import Release
from shared.errors.federation import RunFailed
from shared.federation.cell_policy import CellPolicy
from shared.federation.histogram import Histogram
from shared.ids import SiteId
from shared.protocol.cohort import CohortDefinition, Table
from tests.factories.drawn_statistics import ASKABLE, BASE, NUMBER, TEXTS, Kind, counted

SITES = frozenset(SiteId(str(number)) for number in (100_001, 100_002, 100_003))
OTHERS = frozenset(SiteId(str(number)) for number in (100_004, 100_005, 100_006))
MORE = SITES | OTHERS
BINNED = ASKABLE.sorted_by(Histogram(variable="x", edges=(4,)))
ALONE, CROSSED = BASE.having([NUMBER], ()), BASE.having([NUMBER, TEXTS[0]], [Table(rows="x", columns="y")])
BINS, BOTH = BASE.having([BINNED], ()), BASE.having([BINNED, NUMBER], ())


def items(small: int, more: int = 0) -> dict[Kind, int]:
    """Studies of three numbers, of which one has few, and so many more of each later."""
    return {(0.0, "a", "a"): 80 + more, (4.0, "b", "a"): 90 + more, (7.0, "a", "a"): small + more}


def release(
    definition: CohortDefinition,
    held: dict[Kind, int],
    earlier: Sequence[Release] = (),
    sites: frozenset[SiteId] = SITES,
    policy: str = "cms-11",
) -> Release:
    new = Release(sites, counted(definition, held), CellPolicy.named(policy), {}, definition)
    return new._replace(shown=released_counts(definition, new, earlier, seed=b"", protocol=BASE))


@pytest.mark.parametrize("definition", [CROSSED, BINS, BOTH], ids=["a table of it", "other bins", "other bins beside"])
def test_of_a_hidden_cell(definition: CohortDefinition) -> None:
    """Refused on another day and for more sites; the same table, and sites that were in neither, may be asked."""
    first = release(ALONE, items(5))
    assert None in first.shown.values()
    for sites in (SITES, MORE):
        with pytest.raises(RunFailed, match="the libraries have changed"):
            release(definition, items(5, 40), [first], sites)
        assert release(ALONE, items(5, 40), [first], sites).shown
    assert release(definition, items(5, 40), [first], OTHERS).shown
    assert release(definition, items(5), [first]).shown  # of the same day all is protected together


def test_of_what_was_shown() -> None:
    """A table of cells that are all shown, and other bins beside the earlier ones, are released; alone they are not."""
    first = release(ALONE, items(60))
    assert None not in first.shown.values()
    for definition in (CROSSED, BOTH):
        assert release(definition, items(60, 40), [first]).shown["patients"] == 350
    with pytest.raises(RunFailed, match="the libraries have changed"):
        release(BINS, items(60, 40), [first])


def test_of_what_was_rounded() -> None:
    """What rounding leaves open counts as hidden."""
    first = release(ALONE, items(60), policy="nhs-7-round-5")
    with pytest.raises(RunFailed, match="the libraries have changed"):
        release(CROSSED, items(60, 40), [first])
