"""A mean is shown, rounded, only where every bin of its numbers is shown and holds enough; else it is withheld."""

from collections.abc import Mapping

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from coordinator.cohort.means import released_means
from coordinator.cohort.pooling import released_counts
from coordinator.cohort.released import ReleasedMean
from coordinator.cohort.releases import Release
from shared.errors.federation import RunFailed
from shared.federation.asked import SCALE
from shared.federation.cell_policy import CellPolicy
from shared.federation.histogram import Histogram
from shared.ids import SiteId
from shared.protocol.cohort import CohortDefinition, Mean, Variable
from tests.factories.drawn_statistics import ASKABLE, BASE, NUMBER, TEXTS, TOP, Kind, counted, sums

SITES = frozenset({SiteId("100001"), SiteId("100002"), SiteId("100003")})
EXACT, ROUNDED = CellPolicy.named("cms-11"), CellPolicy.named("nhs-7-round-5")
BINNED = ASKABLE.sorted_by(Histogram(variable="x", edges=(4,)))
FINER = ASKABLE.sorted_by(Histogram(variable="x", edges=(1, 4)))


def of(*variables: Variable, mean: bool = True, high: float = TOP) -> CohortDefinition:
    means = (Mean(variable=variables[0].name, low=0, high=high),) if mean else ()
    return BASE.having(variables, ()).model_copy(update={"means": means})


def kinds(**numbers: int) -> dict[Kind, int]:
    """So many studies of each number, by `x0` to `x7`."""
    return {(float(name[1:]), "a", "a"): count for name, count in numbers.items()}


ENOUGH = kinds(x0=400, x2=300, x5=200, x7=100)


def release(
    definition: CohortDefinition,
    items: Mapping[Kind, int],
    *earlier: Release,
    policy: CellPolicy = EXACT,
    sites: frozenset[SiteId] = SITES,
) -> tuple[Release, list[ReleasedMean]]:
    new = Release(sites, counted(definition, items), policy, {}, definition)
    new = new._replace(shown=released_counts(definition, new, earlier, seed=b"", protocol=BASE))
    return new, list(released_means(definition, new, sums(definition, items), earlier, protocol=BASE))


@given(st.lists(st.integers(11, 4000), min_size=TOP + 1, max_size=TOP + 1))
def test_it_is_within_half_a_step(numbers: list[int]) -> None:
    """Of the true mean; and so many as a policy hides could each have been anything without another being shown."""
    items: dict[Kind, int] = {(float(number), "a", "a"): count for number, count in enumerate(numbers)}
    many = sum(numbers)
    _, [shown] = release(of(BINNED), items)
    assume(shown.mean is not None)  # a bin may be hidden by chance
    assert shown.mean is not None
    assert shown.step is not None
    truth = sum(number * count for number, count in enumerate(numbers)) / many
    assert abs(shown.mean - truth) <= shown.step / 2 + 1e-4
    assert shown.step >= TOP * 11 / many


@pytest.mark.parametrize(
    ("definition", "items", "policy"),
    [
        (of(BINNED), kinds(x0=400, x5=10), EXACT),
        (of(BINNED), ENOUGH, ROUNDED),
        (of(BINNED), ENOUGH, CellPolicy(name="twos", highest=3, base=2)),
        (of(BINNED), kinds(x0=12, x5=12), EXACT),
        (of(BINNED, NUMBER), kinds(x0=400, x2=300, x3=5, x4=200, x7=100), EXACT),
        (of(BINNED), {}, EXACT),
    ],
    ids=["a small bin", "rounded counts", "counts rounded to twos", "too few", "a small piece", "nobody"],
)
def test_it_is_withheld(definition: CohortDefinition, items: Mapping[Kind, int], policy: CellPolicy) -> None:
    """Where it would tell of a count that is hidden or rounded, or nothing."""
    _, [shown] = release(definition, items, policy=policy)
    assert shown == ReleasedMean(variable=BINNED.name)


def test_few_values_more_or_less_withhold_it() -> None:
    """Of sites or days whose numbers differ by fewer values than are shown, only the first mean is."""
    first, [shown] = release(of(BINNED), ENOUGH)
    assert shown.mean is not None
    for change, is_shown in ((1, False), (10, False), (-1, False), (11, True), (0, True)):
        more = {**ENOUGH, (7.0, "a", "a"): 100 + change}
        second = Release(SITES, counted(of(BINNED), more), EXACT, {}, of(BINNED))
        second = second._replace(shown=counted(of(BINNED), more))  # whatever suppression hides of it
        [mean] = released_means(of(BINNED), second, sums(of(BINNED), more), [first], protocol=BASE)
        assert (mean.mean is not None) == is_shown


def test_a_mean_fixes_its_bins_and_bounds() -> None:
    """Finer bins, or the mean within other bounds, would tell how many lie between: they are refused, on any day."""
    first, _ = release(of(BINNED), ENOUGH)
    later = {kind: 2 * count for kind, count in ENOUGH.items()}
    for items in (ENOUGH, later):
        for definition in (of(FINER, mean=False), of(FINER, BINNED), of(BINNED, high=5)):
            with pytest.raises(RunFailed, match="a mean was released"):
                release(definition, items, first)
        assert release(of(BINNED), items, first)[1][0].mean is not None
        assert release(of(TEXTS[0], mean=False), items, first)[0].shown
    elsewhere = frozenset({SiteId("100007"), SiteId("100008"), SiteId("100009")})
    assert release(of(FINER), ENOUGH, first, sites=elsewhere)[0].shown


@pytest.mark.parametrize("wrong", [(2**64 - 1, 0), (SCALE * 1000 + 1, 5), (5, 2000 + SCALE), (2**63, 2**62)])
def test_sums_that_cannot_be_are_refused(wrong: tuple[int, int]) -> None:
    """More than as many values at the upper bound, or squares beyond their sum."""
    new, _ = release(of(BINNED), ENOUGH)
    with pytest.raises(RunFailed, match="do not fit together"):
        released_means(of(BINNED), new, wrong, [], protocol=BASE)


@pytest.mark.parametrize(("many", "is_shown"), [(44, True), (43, False)])
def test_a_step_is_at_most_an_eighth_of_the_bounds(many: int, is_shown: bool) -> None:
    """Of 88 values and eleven that nobody may tell apart it is one; of fewer the mean is withheld."""
    _, [shown] = release(of(BINNED), kinds(x0=44, x5=many))
    assert (shown.mean is not None) == is_shown
    assert shown.step == (TOP / 8 if is_shown else None)


def test_each_mean_has_its_own_sums_and_bounds() -> None:
    """A mean and a deviation of many values are near the true ones, on the scale of their bounds."""
    many = 200_000
    items = kinds(x0=many, x2=many, x5=many, x7=many)
    means = (Mean(variable=BINNED.name, low=0, high=TOP), Mean(variable=FINER.name, low=-3, high=1))
    definition = of(BINNED, FINER).model_copy(update={"means": means})
    new = Release(SITES, counted(definition, items), EXACT, counted(definition, items), definition)
    others = [4 * many * SCALE // 4, 4 * many * SCALE // 8]  # a quarter on the way, and the mean square an eighth
    own, other = released_means(definition, new, [*sums(of(BINNED), items), *others], [], protocol=BASE)
    assert (own.variable, other.variable) == (BINNED.name, FINER.name)
    assert (own.mean, own.deviation) == pytest.approx((3.5, 7.25**0.5), abs=1e-3)
    assert (other.mean, other.deviation) == pytest.approx((-2, 1), abs=1e-3)
    assert own.step is not None
    assert 11 / (4 * many) <= own.step / TOP < 2 * 11 / (4 * many)


@pytest.mark.parametrize(
    ("number", "sums_", "mean"), [(7, (2000 * SCALE, 2000 * SCALE), 7), (0, (0, 0), 0), (0, (0, 2000), 0)]
)
def test_sums_at_the_ends_of_what_can_be_are_shown(number: int, sums_: tuple[int, int], mean: float) -> None:
    """All values at one bound; squares are rounded apart from their values, by less than one for each."""
    definition = of(BINNED)
    counts = counted(definition, {(float(number), "a", "a"): 2000})
    new = Release(SITES, counts, EXACT, counts, definition)
    [shown] = released_means(definition, new, sums_, [], protocol=BASE)
    assert (shown.mean, shown.deviation) == (mean, 0)


@pytest.mark.parametrize("place", range(3))
def test_of_sites_within_one_another_only_one_mean_is_shown(place: int) -> None:
    """Whichever was asked first, where few values are in one only; of other sites both are."""
    within = frozenset(sorted(SITES)[:2])
    elsewhere = frozenset({SiteId("100007"), SiteId("100008"), SiteId("100009")})
    sites = (SITES | elsewhere, within, elsewhere)[place]
    first, _ = release(of(BINNED), ENOUGH)
    more = {**ENOUGH, (7.0, "a", "a"): 105}
    second = Release(sites, counted(of(BINNED), more), EXACT, counted(of(BINNED), more), of(BINNED))
    [mean] = released_means(of(BINNED), second, sums(of(BINNED), more), [first], protocol=BASE)
    assert (mean.mean is not None) == (sites == elsewhere)
    bare = first._replace(definition=of(BINNED, mean=False))
    [mean] = released_means(of(BINNED), second, sums(of(BINNED), more), [bare], protocol=BASE)
    assert mean.mean is not None


def test_a_bin_that_another_release_of_the_table_hides_withholds_it() -> None:
    """Also where that release has no definition of its own."""
    counts = counted(of(BINNED), ENOUGH)
    first = Release(SITES, counts, EXACT, {**counts, BINNED.cells[0]: None})
    second = Release(SITES, counts, EXACT, counts, of(BINNED))
    for earlier, is_shown in ((first, False), (first._replace(shown=counts), True)):
        [mean] = released_means(of(BINNED), second, sums(of(BINNED), ENOUGH), [earlier], protocol=BASE)
        assert (mean.mean is not None) == is_shown


@pytest.mark.parametrize(("piece", "is_shown"), [(0, True), (1, False), (10, False), (11, True)])
def test_a_small_piece_of_two_sorts_of_bins_withholds_it(piece: int, is_shown: bool) -> None:
    """To the last value, whatever is shown of the bins."""
    definition, items = of(BINNED, NUMBER), kinds(x0=400, x2=300, x3=piece, x4=200, x7=100)
    counts = counted(definition, items)
    new = Release(SITES, counts, EXACT, counts, definition)
    [mean] = released_means(definition, new, sums(definition, items), [], protocol=BASE)
    assert (mean.mean is not None) == is_shown
