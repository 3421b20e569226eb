"""The cohort summary as data: what is counted, in which closed categories, in what order.

A definition names variables (each patient, study or series falls into exactly one category of each) and tables of two
variables. From it follow the cells and their order, the same at every site and at the centre: four totals, then each
variable's categories, then each table's cells row by row, then for each field how often it is filled in.

It also states what anybody knows of the counts who knows the protocol: cells that are empty (`zero`), that count the
same (`same`), that count part of another (`implies`). Suppression holds against a reader who knows all of it.
"""

import hashlib
import operator
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, model_validator

from shared.frozen import Frozen
from shared.ids import Sha256
from shared.manifest import canonical_json
from shared.protocol.parts import parse_part

Level = Literal["patients", "studies", "series"]
TOTALS = ("patients", "studies", "series", "images")
OTHER = "other"
MISSING = "not recorded"
STAY = ("admission_date", "discharge_date")  # clinical fields between which a stay in hospital lies


class Category(Frozen):
    """One category: its texts (`values` whole, `starts` as beginnings; case does not matter) or a band of numbers.

    A band holds numbers from `lowest` up to but not including `below`; without `below` it is open.
    """

    label: str = Field(pattern=r"^[^/*]+$")
    values: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()
    lowest: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if bool(self.values or self.starts) == (self.lowest is not None):
            raise ValueError("a category has either texts or a lowest number")
        if self.label in {OTHER, MISSING}:
            raise ValueError(f"the label `{self.label}` is given to every variable by itself")
        return self

    def matches(self, value: str | float) -> bool:
        """Whether a recorded value falls into this category."""
        if isinstance(value, str):
            text = value.strip().casefold()
            return text in {known.casefold() for known in self.values} or any(
                text.startswith(start.casefold()) for start in self.starts
            )
        return self.lowest is not None and self.lowest <= value and (self.below is None or value < self.below)

    def lies_within(self, other: "Category") -> bool:
        """Whether both are bands of numbers, and each number of this one is in the other."""
        if self.lowest is None or other.lowest is None or self.lowest < other.lowest:
            return False
        return other.below is None or (self.below is not None and self.below <= other.below)


class Variable(Frozen):
    """One variable of a patient, study or series, and where its value comes from.

    `source`: a field of the clinical row (a patient's is that of the first study that has one), what is measured in a
    study's images (a patient's likewise: `lung_density`), an attribute of the series, or a figure derived from the
    patient's studies (`studies`: how many; `days`: from the first to the last, or the text `one study`), or from a
    study's row (`stay`: days from admission to discharge).
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    unit: Level
    source: Literal["clinical", "series", "image", "derived"]
    field: str
    categories: tuple[Category, ...] = Field(min_length=1)
    only: str | None = None  # a cell of another variable of the same unit: only what falls there is counted
    adds_up_to: Literal["studies"] | None = None  # the bands' numbers, over all patients, add up to this total

    @property
    def labels(self) -> tuple[str, ...]:
        """Every category's label in order; `other` where the categories are texts, and `not recorded`."""
        other = (OTHER,) if all(category.lowest is None for category in self.categories) else ()
        return (*(category.label for category in self.categories), *other, MISSING)

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells' names, in the order of `labels`."""
        return tuple(f"{self.name}/{label}" for label in self.labels)

    @property
    def total(self) -> str:
        """The cell that this variable's cells add up to."""
        return self.only or self.unit

    @property
    def fact(self) -> tuple[str, ...]:
        """What it is of: two variables of one fact sort the same values into different categories."""
        return self.unit, self.source, self.field, self.only or ""

    def label_of(self, value: str | float | None) -> str:
        """The category of a value; exactly one, whatever the value."""
        if value is None or not str(value).strip():
            return MISSING
        label = next((category.label for category in self.categories if category.matches(value)), None)
        return label or (OTHER if OTHER in self.labels else MISSING)

    @model_validator(mode="after")
    def _bands_are_in_order(self) -> Self:
        bands = [category for category in self.categories if category.lowest is not None]
        if any(before.below != after.lowest for before, after in pairwise(bands)):
            raise ValueError("the bands leave a gap or overlap")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("a label stands twice")
        return self


class Table(Frozen):
    """Counts by two variables of one unit."""

    rows: str = Field(max_length=100)
    columns: str = Field(max_length=100)


class Mean(Frozen):
    """A mean and a standard deviation of a variable's numbers, those beyond the bounds counted as these."""

    variable: str = Field(max_length=100)
    low: float
    high: float

    @model_validator(mode="after")
    def _bounds_ascend(self) -> Self:
        if self.low >= self.high:
            raise ValueError("the bounds of a mean do not ascend")
        return self


class CohortDefinition(Frozen):
    """All that is counted, in order."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    edition: str
    source: str
    variables: tuple[Variable, ...] = ()
    tables: tuple[Table, ...] = ()
    zero: tuple[str, ...] = ()  # cells in which the protocol lets nothing fall
    same: tuple[tuple[str, str], ...] = ()  # pairs of cells that count the same
    implies: tuple[tuple[str, str], ...] = ()  # pairs of cells: what is counted in the first is counted in the second
    filled: tuple[str, ...] = ()  # clinical fields whose completeness is counted, by study
    means: tuple[Mean, ...] = Field(default=(), exclude_if=operator.not_)  # of a plan; two words each, after the cells

    @classmethod
    def from_toml(cls, text: str, *, file: str = "cohort definition") -> Self:
        """Read a definition; raises `ProtocolInvalid` naming an unknown key or a value that cannot be."""
        return parse_part(text, cls, file=file)

    @property
    def digest(self) -> Sha256:
        """SHA-256 of the canonical JSON; sites and centre name the definition by it."""
        return Sha256(hashlib.sha256(canonical_json(self)).hexdigest())

    @property
    def counted(self) -> Self:
        """What is counted, without what is said of it: equal where two definitions count the same."""
        return self.model_copy(update={"edition": "", "source": "", "zero": (), "same": (), "implies": ()})

    @property
    def cells(self) -> tuple[str, ...]:
        """Every cell's name, in the order of the vector that sites sum."""
        variables = (cell for variable in self.variables for cell in variable.cells)
        tables = (cell for table in self.tables for row in self.table_cells(table) for cell in row)
        filled = (cell for field in self.filled for cell in filled_cells(field))
        return (*TOTALS, *variables, *tables, *filled)

    @property
    def facts(self) -> set[tuple[str, ...]]:
        """What its variables are of."""
        return {variable.fact for variable in self.variables}

    @property
    def length(self) -> int:
        """How many words a site gives to the sum: each cell's count, and two for each mean."""
        return len(self.cells) + 2 * len(self.means)

    def variable(self, name: str) -> Variable:
        """The variable of that name; raises `KeyError`."""
        return {variable.name: variable for variable in self.variables}[name]

    def having(
        self, variables: Iterable[Variable], tables: Iterable[Table], filled: Iterable[str] | None = None
    ) -> Self:
        """Other variables and tables, with what this definition states of their cells; raises pydantic's error.

        Without `filled`, completeness is counted of the variables' fields where it is here.
        """
        given = {each.name: each for each in variables}
        needed = {each.only.partition("/")[0] for each in given.values() if each.only}
        chosen = {name: self.variable(name) for name in needed - set(given)} | given
        fields = {each.field for each in chosen.values() if each.source == "clinical"} if filled is None else {*filled}
        bare = {
            **dict(self),
            "variables": tuple(chosen.values()),
            "tables": tuple(dict.fromkeys(tables)),
            "filled": tuple(field for field in self.filled if field in fields),
            "means": (),
        }
        plain = type(self).model_validate({**bare, "zero": (), "same": (), "implies": ()})
        cells = set(plain.cells)
        binned = (cell for each in plain.variables for cell in self._empty_cells(each))
        lacking = (
            (filled_cells(each.field)[1], f"{each.name}/{MISSING}")
            for each in plain.variables
            if (each.source, each.total) == ("clinical", "studies") and each.field in plain.filled
        )
        ended = (
            (filled_cells(field)[1], f"{each.name}/{MISSING}")
            for each in plain.variables
            for field in (STAY if each.field == "stay" else ())
        )
        return plain.model_copy(
            update={
                "zero": tuple(dict.fromkeys(cell for cell in (*self.zero, *binned) if cell in cells)),
                "same": tuple(dict.fromkeys(pair for pair in (*self.same, *lacking) if {*pair} <= cells)),
                "implies": tuple(dict.fromkeys(pair for pair in (*self.implies, *ended) if {*pair} <= cells)),
            }
        )

    def _empty_cells(self, variable: Variable) -> Iterator[str]:
        """The cells of a variable that hold what only empty cells of this definition hold, by the same fact."""
        for own in (each for each in self.variables if each.fact == variable.fact):
            if f"{own.name}/{MISSING}" in self.zero:
                yield f"{variable.name}/{MISSING}"
            empty = [each for each in own.categories if f"{own.name}/{each.label}" in self.zero]
            for each in variable.categories:
                if any(each.lies_within(other) for other in empty):
                    yield f"{variable.name}/{each.label}"

    def table_cells(self, table: Table) -> tuple[tuple[str, ...], ...]:
        """A table's cells as rows of columns."""
        rows, columns = self.variable(table.rows), self.variable(table.columns)
        return tuple(tuple(table_cell(table, row, column) for column in columns.labels) for row in rows.labels)

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        names = [variable.name for variable in self.variables]
        if set(names) & set(TOTALS):
            raise ValueError("a variable's name is a total's")
        for table in self.tables:
            if not {table.rows, table.columns} <= set(names) or table.rows == table.columns:
                raise ValueError(f"table {table.rows} * {table.columns} does not name two variables")
            rows, columns = self.variable(table.rows), self.variable(table.columns)
            if (rows.unit, rows.only) != (columns.unit, columns.only):
                raise ValueError(f"table {table.rows} * {table.columns} counts different things")
        of_variables = {cell for variable in self.variables for cell in variable.cells}
        stated = {*self.zero, *(cell for pair in (*self.same, *self.implies) for cell in pair)}
        absent = {variable.only for variable in self.variables} - of_variables - {None} | stated - set(self.cells)
        if absent:
            raise ValueError(f"there is no cell {min(map(str, absent))}")
        if len(set(self.cells)) != len(self.cells):
            raise ValueError("a cell stands twice")
        return self

    @property
    def crossed(self) -> dict[tuple[tuple[str, ...], ...], list[Table]]:
        """The tables by the two facts that they cross: several where one fact is sorted in several ways."""
        pairs: dict[tuple[tuple[str, ...], ...], list[Table]] = {}
        for table in self.tables:
            pairs.setdefault((self.variable(table.rows).fact, self.variable(table.columns).fact), []).append(table)
        return pairs

    @model_validator(mode="after")
    def _tables_form_no_ring(self) -> Self:
        """In a ring (a by b, b by c, c by a) the tables tell more of one another than their sums do.

        Tables of the same two facts are one, if all have their rows or all their columns in common.
        """
        joined = {variable.fact: {variable.fact} for variable in self.variables}
        for (rows, columns), tables in self.crossed.items():
            sides = {table.rows for table in tables}, {table.columns for table in tables}
            if columns in joined[rows] or 1 not in map(len, sides):
                raise ValueError(f"table {tables[-1].rows} * {tables[-1].columns} closes a ring of tables")
            together = joined[rows] | joined[columns]
            joined.update(dict.fromkeys(together, together))
        return self


def table_cell(table: Table, row: str, column: str) -> str:
    """The name of a table's cell."""
    return f"{table.rows}*{table.columns}/{row}/{column}"


def filled_cells(field: str) -> tuple[str, str]:
    """The two cells of a field's completeness: studies that have it, studies that lack it."""
    return f"filled*{field}/recorded", f"filled*{field}/{MISSING}"
