"""The relations of a definition hold of whatever sites count, and of no table that no studies could make."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.cohort.cuts import cuts_of, margins_of
from coordinator.cohort.relations import Relation, complete, known_relations, relations_of, statements_of, worth_of
from shared.federation.histogram import Histogram
from shared.protocol.cohort import TOTALS, Category, CohortDefinition, Table, Variable
from tests.factories.drawn_statistics import ASKABLE, BASE, KINDS, NUMBER, TEXTS, Kind, counted, definitions, studies

COARSE = ASKABLE.sorted_by(Histogram(variable="x", edges=(4,)))
FINE = ASKABLE.sorted_by(Histogram(variable="x", edges=(2, 5)))
DEFINITIONS = [
    BASE,
    BASE.having([TEXTS[1]], ()),
    BASE.having([COARSE, FINE], ()),
    BASE.having([COARSE, FINE, TEXTS[1]], [Table(rows=each.name, columns="z") for each in (COARSE, FINE)]),
    BASE.having([COARSE, FINE, TEXTS[1]], [Table(rows="z", columns=each.name) for each in (COARSE, FINE)]),
]
IDS = ["the protocol's", "a text", "two bins", "two tables", "two tables that lie across"]


@given(st.none() | st.integers(-5, 5), st.integers(0, 5), st.booleans(), st.tuples(*[st.integers(-3, 3)] * 3))
def test_a_gap_is_the_way_to_the_nearest_sum_that_fits(
    low: int | None, width: int, is_open: bool, counts: tuple[int, int, int]
) -> None:
    """It is 0 where the relation holds; with the gap added the sum fits, and with less of it not."""
    high = None if is_open else (low or 0) + width
    relation = Relation(weights={"a": 1, "b": -2, "c": 3}, low=low, high=high)
    total = counts[0] - 2 * counts[1] + 3 * counts[2]

    def fits(number: int) -> bool:
        return (low is None or number >= low) and (high is None or number <= high)

    table = dict(zip("abc", counts, strict=True))
    gap = relation.gap(table)
    assert fits(total + gap)
    assert (gap == 0) == fits(total) == relation.holds(table)
    assert not any(fits(total + part) for part in range(min(gap, 0) + (gap < 0), max(gap, 0)) if part != gap)


@given(st.data())
def test_they_hold_of_whatever_is_counted(data: st.DataObject) -> None:
    """Of studies of any kinds, in any definition; no piece is below zero, and nothing that is stated is wrong."""
    definition, items = data.draw(definitions()), data.draw(studies())
    counts = counted(definition, items)
    everything = complete(definition, counts)
    assert min(everything.values()) >= 0
    assert {cell: everything[cell] for cell in counts} == counts
    for relation in relations_of(definition):
        assert relation.weights.keys() <= everything.keys()
        assert relation.holds(everything)
    known = known_relations(definition, everything)
    assert known == [*relations_of(definition), *(each for each in statements_of(definition) if each.holds(everything))]
    assert all(each.holds(everything) for each in known)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=IDS)
def test_no_cell_or_two_can_be_otherwise(definition: CohortDefinition) -> None:
    """Of one study, a table changed in one or two of its cells fits only if another study makes it."""
    reachable = {tuple(counted(definition, {kind: 1}).values()) for kind in KINDS}
    inner = [cell for cell in definition.cells if cell not in TOTALS]
    known = [*relations_of(definition), *statements_of(definition)]
    for kind in KINDS[::7]:
        counts = counted(definition, {kind: 1})
        for changed in (*combinations(inner, 1), *combinations(inner, 2)):
            other = {**counts, **{cell: 1 - counts[cell] for cell in changed}}
            everything = complete(definition, other)
            fits = min(everything.values()) >= 0 and all(each.holds(everything) for each in known)
            assert fits == (tuple(other.values()) in reachable)


def test_whoever_has_images_has_series_and_studies() -> None:
    """Each total is at most the next."""
    definition = BASE.having([TEXTS[1]], ())
    for totals in product(range(3), repeat=4):
        counts = dict.fromkeys(definition.cells, 0) | dict(zip(TOTALS, totals, strict=True))
        studies_ = counts["studies"]
        counts |= {"z/a": studies_, "filled*z/recorded": studies_}
        fits = all(each.holds(counts) for each in relations_of(definition))
        assert fits == (list(totals) == sorted(totals))


BANDS = (
    Category(label="1", lowest=1, below=2),
    Category(label="2 to 4", lowest=2, below=5),
    Category(label="5+", lowest=5),
)


NOUGHT = (Category(label="0", lowest=0, below=1), Category(label="1 to 4", lowest=1, below=5))


@pytest.mark.parametrize("bands", [BANDS, BANDS[:2], NOUGHT], ids=["open", "closed", "from nought"])
def test_patients_by_their_studies_add_up_to_all_studies(bands: Sequence[Category]) -> None:
    """So many studies there are, and no other number: each patient has one of the numbers of the band."""
    each = Variable(
        name="each", title="each", unit="patients", source="derived", field="studies", categories=tuple(bands),
        adds_up_to="studies",
    )  # fmt: skip
    definition = CohortDefinition(name="small", edition="1", source="a test", variables=(each,))
    for patients in product(range(3), repeat=len(bands)):
        least = sum(int(band.lowest or 0) * many for band, many in zip(bands, patients, strict=True))
        most = sum((int(band.below) - 1 if band.below else 99) * n for band, n in zip(bands, patients, strict=True))
        for number in range(14):
            counts = dict.fromkeys(definition.cells, 0)
            counts |= dict(zip(each.cells, patients, strict=False))
            counts |= {"patients": sum(patients), "studies": number, "series": 99, "images": 99}
            everything = complete(definition, counts)
            fits = everything["surplus/each"] >= 0 and all(r.holds(everything) for r in relations_of(definition))
            assert fits == (least <= number <= most and number >= sum(patients))
            counts |= {"each/not recorded": 1, "patients": sum(patients) + 1}
            assert not all(r.holds(complete(definition, counts)) for r in relations_of(definition))


@given(studies())
def test_a_piece_counts_the_numbers_between_two_edges(items: Mapping[Kind, int]) -> None:
    """Of all bins; within each category of what it is crossed with, too, and those add up to the piece."""
    definition = DEFINITIONS[3]
    counts = counted(definition, items)
    alone, *crossed = cuts_of(definition)
    assert [cut.is_whole for cut in (alone, *crossed)] == [True, *[False] * 3]
    assert len({cut.name for cut in (alone, *crossed)}) == 4
    truth: Counter[tuple[float, str]] = Counter()
    for (number, _, text), many in items.items():
        if number is not None:
            truth[max(edge for edge in (0.0, 2.0, 4.0, 5.0) if edge <= number), text or "not recorded"] += many
    for cut, labels in ((alone, "a c not recorded"), *((cut, cut.name.rpartition("/")[2]) for cut in crossed)):
        names = {"a": ["a"], "other": ["c"], "not recorded": ["not recorded"]}.get(labels, ["a", "c", "not recorded"])
        for name, count in cut.counts(counts).items():
            low = cut.pieces[name].lowest
            assert count == sum(truth[low or 0.0, text] for text in names)
    for over, whole in margins_of(definition):
        everything = complete(definition, counts)
        assert sum(everything[name] for name in over) == sum(everything[name] for name in whole)


def test_bins_cut_only_numbers_of_the_same_fact() -> None:
    """One sort of bins has no pieces, nor has a text; every piece lies in one bin of each sort."""
    assert cuts_of(BASE) == []
    [cut] = cuts_of(DEFINITIONS[2])
    assert [(piece.lowest, piece.below) for piece in cut.pieces.values()] == [(0, 2), (2, 4), (4, 5), (5, None)]
    assert [[len(cut.inside(band)) for band, _ in bins] for bins in cut.bins] == [[2, 2], [1, 2, 1]]


def test_a_total_is_missed_more_than_a_variable_and_that_more_than_a_table() -> None:
    """And completeness as much as a variable."""
    worth = worth_of(BASE)
    assert worth.keys() == {*BASE.cells}
    assert {worth[cell] for cell in TOTALS} == {2}
    assert {worth[cell] for each in (NUMBER, *TEXTS) for cell in each.cells} == {1}
    assert {worth[cell] for cell in BASE.cells if cell.startswith("filled*")} == {1}
    assert {worth[cell] for row in BASE.table_cells(BASE.tables[0]) for cell in row} == {0}
