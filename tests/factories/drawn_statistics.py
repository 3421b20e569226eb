"""Plans of histograms and tables as hypothesis draws them, and studies of every kind that these count."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product

from hypothesis import strategies as st
from pydantic import ValidationError

from shared.federation.asked import SCALE, Askable
from shared.federation.histogram import Histogram
from shared.protocol.cohort import TOTALS, Category, CohortDefinition, Mean, Table, Variable, filled_cells, table_cell

TOP = 7  # the largest number that there is
Kind = tuple[float | None, str | None, str | None]  # a study's number x, and its texts y and z
KINDS: tuple[Kind, ...] = tuple(product((*map(float, range(TOP + 1)), None), ("a", "b", "c", None), ("a", "c", None)))


def _of(name: str, *categories: Category) -> Variable:
    return Variable(name=name, title=name, unit="studies", source="clinical", field=name, categories=categories)


NUMBER = _of(
    "x",
    Category(label="low", lowest=0, below=3),
    Category(label="mid", lowest=3, below=6),
    Category(label="high", lowest=6),
)
TEXTS = (
    _of("y", Category(label="a", values=("a",)), Category(label="b", values=("b",))),
    _of("z", Category(label="a", values=("a",))),
)
_BARE = CohortDefinition(name="drawn", edition="1", source="a test", variables=(NUMBER, *TEXTS), filled=("z",))
BASE = _BARE.having(_BARE.variables, (Table(rows="x", columns="y"),))  # with what follows for whether z is filled in
ASKABLE = Askable(name="x", own=NUMBER, bounds=(0, 100), frame=NUMBER)
EDGES = [(), (2,), (3,), (1, 5), (2, 4, 6), (3, 6, 7)]


@st.composite
def definitions(draw: st.DrawFn, *, averaged: bool = False) -> CohortDefinition:
    """What one plan asks for: the whole of `BASE`, or some of its variables in bins of the plan, alone and crossed.

    `averaged`: always with a mean.
    """
    if not averaged and draw(st.integers(0, 5)) == 0:
        return BASE
    edges = draw(st.lists(st.sampled_from(EDGES), min_size=int(averaged), max_size=2, unique=True))
    numbers = [ASKABLE.sorted_by(Histogram(variable="x", edges=each)) for each in edges]
    variables = [*numbers, *draw(st.lists(st.sampled_from(TEXTS), max_size=2, unique=True))]
    names = [each.name for each in variables]
    pairs = [Table(rows=first, columns=second) for first in names for second in names if first < second]
    tables = draw(st.lists(st.sampled_from(pairs), max_size=2, unique=True)) if pairs else []
    try:
        asked = BASE.having(variables or TEXTS[:1], tables)
    except ValidationError:  # a ring
        asked = BASE.having(variables, ())
    means = [Mean(variable=each.name, low=0, high=TOP) for each in numbers[:1] if averaged or draw(st.booleans())]
    return asked.model_copy(update={"means": tuple(means)})


@st.composite
def studies(draw: st.DrawFn, most: int = 30) -> Counter[Kind]:
    """Studies of one patient and series each, by kind."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=10, unique=True))
    numbers = draw(st.lists(st.integers(1, most), min_size=len(kinds), max_size=len(kinds)))
    return Counter(dict(zip(kinds, numbers, strict=True)))


@st.composite
def many_studies(draw: st.DrawFn) -> Counter[Kind]:
    """Studies enough of every number, so that its bins may be shown, and of few kinds beside the most common one."""
    common = {(float(number), "a", "a"): draw(st.sampled_from([0, 15, 30, 60])) for number in range(TOP + 1)}
    return Counter(common) + draw(studies(12))


def cells_of(definition: CohortDefinition, kind: Kind) -> Iterator[str]:
    """The cells in which a study of that kind is counted."""
    values = dict(zip(("x", "y", "z"), kind, strict=True))
    labels = {each.name: each.label_of(values[each.field]) for each in definition.variables}
    yield from TOTALS
    yield from (f"{name}/{label}" for name, label in labels.items())
    yield from (table_cell(each, labels[each.rows], labels[each.columns]) for each in definition.tables)
    yield from (filled_cells(field)[values[field] is None] for field in definition.filled)


def sums(definition: CohortDefinition, items: Mapping[Kind, int]) -> list[int]:
    """The sums of each mean's values and of their squares, as a site gives them."""
    shares = [(kind[0] / TOP, number) for kind, number in items.items() if kind[0] is not None]
    powers = [sum(round(share**power * SCALE) * number for share, number in shares) for power in (1, 2)]
    return powers * len(definition.means)


def counted(definition: CohortDefinition, items: Mapping[Kind, int]) -> dict[str, int]:
    """Every cell's count, as a site counts."""
    counts: Counter[str] = Counter()
    for kind, number in items.items():
        counts.update(dict.fromkeys(cells_of(definition, kind), number))
    return {cell: counts[cell] for cell in definition.cells}
