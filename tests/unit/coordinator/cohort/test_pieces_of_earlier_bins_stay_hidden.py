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


def test_a_policy_of_another_variable_says_nothing_of_a_number() -> None:
    """Each number is held to the policies under which it was counted itself."""
    first = release(BASE.having([TEXTS[1]], ()), items(5), "cms-11")
    both = release(BASE.having([NUMBER, BINNED], ()), items(5), "min-3", first)
    assert [both.shown[cell] for cell in BINNED.cells[:2]] == [55, 100]


def test_bins_that_cannot_be_of_the_same_numbers_are_of_another_day() -> None:
    """Fewer below 4 than there were below 3: though as many in all, the libraries have changed."""
    first = release(BASE.having([NUMBER], ()), items(40), "cms-11")
    moved: dict[Kind, int] = {(0.0, "a", "a"): 30, (4.0, "b", "a"): 100, (7.0, "a", "a"): 60}
    assert sum(moved.values()) == sum(items(40).values())
    with pytest.raises(RunFailed, match="the libraries have changed"):
        release(BASE.having([BINNED], ()), moved, "cms-11", first)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_any_earlier_table_tells_counts(order: tuple[int, int]) -> None:
    """Whichever was first: where one showed that there are at most eight, none can pretend that there may be ten."""
    sites = [frozenset({SiteId(str(100_001 + place))}) for place in range(3)]
    held = [items(60), items(60), items(60)]
    for place, high in enumerate((5, 3, 95)):
        held[place][7.0, "a", "a"] = high
    definition = BASE.having([NUMBER], ())

    def of(places: tuple[int, ...], policy: str, *earlier: Release) -> Release:
        together = {kind: sum(held[place][kind] for place in places) for kind in held[0]}
        new = Release(
            frozenset().union(*(sites[place] for place in places)),
            counted(definition, together),
            CellPolicy.named(policy),
            {},
            definition,
        )
        return new._replace(shown=released_counts(definition, new, earlier, seed=b"", protocol=BASE))

    earlier: list[Release] = []
    for place in order:
        earlier.append(of(((0, 1), (0, 2))[place], "min-2", *earlier))
    with pytest.raises(RunFailed, match="beside earlier tables"):
        of((0,), "cms-11", *earlier)
    assert of((0,), "min-2", *earlier).shown
