"""The pieces into which different bins of the same numbers cut one another: what follows from histograms together.

A piece is never released, but what is known of the bins around it tells how many are in it. Where tables cross a number
with the same variable, each in other bins, there are pieces within each category of that variable, too.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from shared.protocol.cohort import Category, CohortDefinition, Table, table_cell

Bins = tuple[tuple[Category, str], ...]  # bands that cover all numbers, each with the cell that counts it


class Cut(NamedTuple):
    """The numbers of a fact, or of one category that it is crossed with, and the bins in which they are counted."""

    fact: tuple[str, ...]
    name: str
    bins: tuple[Bins, ...]

    @property
    def is_whole(self) -> bool:
        """Whether it is of the fact alone, and not within a category."""
        return self.name == _name(self.fact)

    @property
    def pieces(self) -> dict[str, Category]:
        """The stretches between two edges of any of the bins, by the names of their cells."""
        edges = sorted({float(band.lowest or 0) for bins in self.bins for band, _ in bins})
        ends = zip(edges, (*edges[1:], None), strict=True)
        return {f"{self.name}/{low}-{below}": Category(label="piece", lowest=low, below=below) for low, below in ends}

    def inside(self, band: Category) -> list[str]:
        """The pieces that lie in a band."""
        return [name for name, piece in self.pieces.items() if piece.lies_within(band)]

    def counts(self, counts: Mapping[str, int]) -> dict[str, int]:
        """How many are in each piece: below zero where the bins cannot be of the same numbers."""
        above = dict[float, int]()  # how many lie at or above each edge
        for bins in self.bins:
            for place, (band, _) in enumerate(bins):
                above[float(band.lowest or 0)] = sum(counts[cell] for _, cell in bins[place:])
        many = [above[float(piece.lowest or 0)] for piece in self.pieces.values()]
        return {name: here - next_ for name, here, next_ in zip(self.pieces, many, (*many[1:], 0), strict=True)}


def cuts_of(definition: CohortDefinition) -> list[Cut]:
    """All numbers that are counted in several bins, alone before crossed."""
    facts: dict[tuple[str, ...], list[Bins]] = {}
    for variable in definition.variables:
        if variable.categories[0].lowest is not None:
            facts.setdefault(variable.fact, []).append(tuple(zip(variable.categories, variable.cells, strict=False)))
    alone = [Cut(fact, _name(fact), tuple(bins)) for fact, bins in facts.items() if len(bins) > 1]
    return [*alone, *(cut for tables in definition.crossed.values() for cut in _crossed(definition, tables))]


def margins_of(definition: CohortDefinition) -> Iterator[tuple[list[str], list[str]]]:
    """Pieces of a crossed number, over all categories, and the pieces of the number alone that hold as many."""
    cuts = cuts_of(definition)
    alone = {cut.fact: cut for cut in cuts if cut.is_whole}
    for tables in definition.crossed.values():
        crossed = list(_crossed(definition, tables))
        for number, piece in enumerate(crossed[0].pieces.values() if crossed else ()):
            yield [list(cut.pieces)[number] for cut in crossed], alone[crossed[0].fact].inside(piece)


def _crossed(definition: CohortDefinition, tables: list[Table]) -> Iterator[Cut]:
    """For tables of the same two facts, a cut within each category of the variable that they have in common."""
    if len(tables) == 1:
        return
    upright = len({table.columns for table in tables}) == 1
    common = definition.variable(tables[0].columns if upright else tables[0].rows)
    binned = [definition.variable(table.rows if upright else table.columns) for table in tables]
    for label in common.labels:
        bins = tuple(
            tuple(
                (band, table_cell(table, *((band.label, label) if upright else (label, band.label))))
                for band in variable.categories
            )
            for table, variable in zip(tables, binned, strict=True)
        )
        yield Cut(binned[0].fact, f"{_name(binned[0].fact)}*{common.name}/{label}", bins)


def _name(fact: tuple[str, ...]) -> str:
    return "piece/" + "/".join(fact)
