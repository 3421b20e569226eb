"""Cohort definitions and pooled counts as hypothesis draws them."""

from collections import Counter
from collections.abc import Sequence
from itertools import product

from hypothesis import strategies as st

from shared.protocol.cohort import (
    MISSING,
    OTHER,
    TOTALS,
    Category,
    CohortDefinition,
    Table,
    Variable,
    filled_cells,
    table_cell,
)

Item = tuple[tuple[str, ...], bool]  # a study's label of each variable, and whether its field is filled
LABELS = ("a", "b")
FIELD = "field"


def variable(name: str) -> Variable:
    """A variable of studies with two categories, `other` and `not recorded`."""
    categories = tuple(Category(label=label, values=(label,)) for label in LABELS)
    return Variable(name=name, title=name, unit="studies", source="clinical", field=name, categories=categories)


NAMES = ("x", "y", "z")
TREES: Sequence[tuple[Table, ...]] = (
    (),
    (Table(rows="x", columns="y"),),
    (Table(rows="x", columns="y"), Table(rows="y", columns="z")),
)
KINDS = tuple(
    (labels, filled) for labels in product((*LABELS, OTHER, MISSING), repeat=len(NAMES)) for filled in (True, False)
)


def plain_definition(tables: tuple[Table, ...]) -> CohortDefinition:
    """Three variables and `tables` of them, with no statement on their cells."""
    return CohortDefinition(
        name="drawn",
        edition="1",
        source="a test",
        variables=tuple(variable(name) for name in NAMES),
        tables=tables,
        filled=(FIELD,),
    )


@st.composite
def definitions(draw: st.DrawFn) -> CohortDefinition:
    """Three variables, tables of them, and statements on their cells, of which a table may fit some and not others."""
    plain = plain_definition(draw(st.sampled_from(TREES)))
    cells = st.sampled_from([cell for cell in plain.cells if cell not in TOTALS])
    pairs = st.lists(st.tuples(cells, cells), max_size=2).map(tuple)
    zero = st.lists(cells, max_size=4, unique=True).map(tuple)
    implied = (filled_cells(FIELD)[0], "x/a")
    return plain.model_copy(
        update={
            "zero": draw(zero),
            "same": draw(pairs),
            "implies": (*draw(pairs), *draw(st.sampled_from([(), (implied,)]))),
        }
    )


@st.composite
def studies(draw: st.DrawFn, most: int = 40) -> Counter[Item]:
    """Studies of one patient and series each, by kind; half the time those alone that are `x/a` have the field."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=8, unique=True))
    if draw(st.booleans()):
        kinds = [(labels, filled and labels[0] == "a") for labels, filled in kinds]
    numbers = draw(st.lists(st.integers(1, most), min_size=len(kinds), max_size=len(kinds)))
    return Counter(dict(zip(kinds, numbers, strict=True)))


def counted(definition: CohortDefinition, items: Counter[Item]) -> dict[str, int]:
    """Every cell's count, as a site counts."""
    counts: Counter[str] = Counter(dict.fromkeys(TOTALS, items.total()))
    for (labels, filled), number in items.items():
        of = dict(zip(NAMES, labels, strict=True))
        counts.update({f"{name}/{label}": number for name, label in of.items()})
        for table in definition.tables:
            counts[table_cell(table, of[table.rows], of[table.columns])] += number
        counts[filled_cells(FIELD)[not filled]] += number
    return {cell: counts[cell] for cell in definition.cells}
