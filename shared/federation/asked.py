"""Which variables a statistics plan may name, and the cohort definition that follows from what it names.

Site and centre work it out alike, each from the signed plan and its own protocol. Numbers fall into bins that the plan
fixes; whatever has a closed list of values falls into the protocol's categories.
"""

import hashlib
from collections.abc import Iterator, Mapping
from itertools import pairwise

from pydantic import ValidationError

from shared.errors.federation import PlanInvalid
from shared.federation.cohort import definition_named
from shared.federation.filter import check_filters
from shared.federation.histogram import Histogram
from shared.federation.task import StatisticsTask
from shared.frozen import Frozen
from shared.ids import Sha256
from shared.manifest import canonical_json
from shared.protocol.clinical import Field
from shared.protocol.cohort import OTHER, STAY, Category, CohortDefinition, Mean, Table, Variable
from shared.protocol.loader import protocol_with

MOST_CELLS = 400  # of a plan's histograms and tables, which all have to be protected from one another
SCALE = 2**20  # of a value as a share of its mean's bounds, in the sum's whole numbers
_SERIES_NUMBERS = {"slice_thickness": (0.0, 50.0)}  # mm

_STAY = Variable(
    name="stay",
    title="Days from admission to discharge",
    unit="studies",
    source="derived",
    field="stay",
    categories=(Category(label="any", lowest=0),),
)
DENSITY, AERATED = "lung_density", (-950.0, -100.0)  # HU
_DENSITY = Variable(
    name=DENSITY,
    title="Median density of aerated lung (HU)",
    unit="patients",
    source="image",
    field=DENSITY,
    categories=(Category(label="any", lowest=AERATED[0]),),
)


class Askable(Frozen):
    """A variable that a plan may name: in its own categories, if it has some, or in bins, if it is a number."""

    name: str
    own: Variable | None
    bounds: tuple[float, float] | None  # of a number: an edge lies above the first and up to the second
    frame: Variable  # all but the categories of what is binned

    def sorted_by(self, asked: Histogram) -> Variable:
        """The variable in the bins of a plan, or its own categories; raises `PlanInvalid`."""
        if not asked.edges:
            if self.own is None:
                raise PlanInvalid(problem=f"`{self.name}` has no categories of its own: name the `edges` of its bins")
            return self.own
        if self.bounds is None:
            raise PlanInvalid(problem=f"`{self.name}` is no number, so it has no bins")
        low, high = self.bounds
        if not low < asked.edges[0] or asked.edges[-1] > high:
            raise PlanInvalid(problem=f"the edges of `{self.name}` lie above {_text(low)} and up to {_text(high)}")
        digest = hashlib.sha256(canonical_json(asked)).hexdigest()
        return self.frame.model_copy(
            update={"name": f"{self.name}_{digest[:8]}", "categories": tuple(_bins(low, asked.edges))}
        )


def inputs_asked(task: StatisticsTask, definition: CohortDefinition) -> str:
    """What a sum's plan says of the definition that a task's plan leads to: all sites are given the same."""
    if task.privacy is not None:
        part = "".join(f" of {canonical_json(each).decode()}" for each in task.filter)
        return f"{definition.digest} with an epsilon of {task.privacy.epsilon:g}{part}"
    return "" if task.kinds == ("cohort",) else definition.digest


def definition_asked(task: StatisticsTask, protocol_digest: Sha256) -> CohortDefinition:
    """What is counted for a task: the protocol's whole definition, or what the task names of it.

    Of noisy counts nothing is known beforehand, and completeness is what is recorded of each variable. Raises
    `PlanInvalid` naming what cannot be counted, `ProtocolMismatch`.
    """
    definition = _exact(task, protocol_digest)
    unknown = {"filled": (), "zero": (), "same": (), "implies": ()} if task.privacy is not None else {}
    return definition.model_copy(update=unknown)


def _exact(task: StatisticsTask, protocol_digest: Sha256) -> CohortDefinition:
    definition = definition_named(task.cohort, protocol_digest)
    check_filters(task.filter, definition)
    if task.kinds == ("cohort",):
        return definition
    known = askable(protocol_digest)
    chosen = [(asked.variable, _sorted(known, asked)) for asked in task.histograms]
    first = dict(reversed(chosen))
    axes = {name for table in task.tables for name in (table.rows, table.columns)}
    first |= {name: _sorted(known, Histogram(variable=name)) for name in sorted(axes - set(first)) if name in known}
    if absent := sorted(axes - set(first)):
        raise PlanInvalid(problem=f"there is no variable `{absent[0]}`")
    tables = [
        Table(rows=first[rows].name, columns=first[columns].name)
        for rows, columns in (_upright(table, definition) for table in task.tables)
    ]
    try:
        asked_for = definition.having((*(variable for _, variable in chosen), *first.values()), tables)
    except ValidationError as error:
        raise PlanInvalid(problem=error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    means = tuple(_mean(known, first, mean) for mean in task.means)
    if len({mean.variable for mean in means}) < len(means):
        raise PlanInvalid(problem="a mean of the same variable stands twice")
    if len(asked_for.cells) > MOST_CELLS:
        raise PlanInvalid(problem=f"its histograms and tables have {len(asked_for.cells)} cells, over {MOST_CELLS}")
    never = (f"{name}/{OTHER}" for name in _coded(protocol_digest))
    zero = dict.fromkeys((*asked_for.zero, *(cell for cell in never if cell in asked_for.cells)))
    return asked_for.model_copy(update={"zero": tuple(zero), "means": means})


def askable(protocol_digest: Sha256) -> dict[str, Askable]:
    """Every variable that a plan may name, by name; raises `ProtocolMismatch`."""
    protocol = protocol_with(protocol_digest)
    variables = protocol.cohort.variables
    known = {each.name: Askable(name=each.name, own=each, bounds=None, frame=each) for each in variables}
    for field in protocol.clinical.released_fields:
        own = next((each for each in variables if each.field == field.name), None)
        if field.kind in ("integer", "number"):
            bounds = float(field.minimum or 0), float(field.cap or field.maximum or field.minimum or 0)
            known[field.name] = Askable(name=field.name, own=own, bounds=bounds, frame=own or _of_field(field))
        elif field.codes and own is None:
            variable = _of_field(field)
            known[field.name] = Askable(name=field.name, own=variable, bounds=None, frame=variable)
    for name, bounds in _SERIES_NUMBERS.items():
        if name in known:
            known[name] = known[name].model_copy(update={"bounds": bounds})
    if set(STAY) <= {field.name for field in protocol.clinical.released_fields}:
        known[_STAY.name] = Askable(name=_STAY.name, own=None, bounds=(0.0, 365.0), frame=_STAY)
    known[DENSITY] = Askable(name=DENSITY, own=None, bounds=AERATED, frame=_DENSITY)
    return known


def _mean(known: Mapping[str, Askable], first: Mapping[str, Variable], mean: Mean) -> Mean:
    """A mean by the variable that its histogram counts."""
    if mean.variable not in first:
        raise PlanInvalid(problem=f"a mean of `{mean.variable}` needs a histogram of it beside")
    bounds = known[mean.variable].bounds
    if bounds is None:
        raise PlanInvalid(problem=f"`{mean.variable}` is no number, so it has no mean")
    if mean.low < bounds[0] or mean.high > bounds[1]:
        raise PlanInvalid(problem=f"`{mean.variable}` lies between {_text(bounds[0])} and {_text(bounds[1])}")
    return mean.model_copy(update={"variable": first[mean.variable].name})


def _upright(table: Table, definition: CohortDefinition) -> tuple[str, str]:
    """Rows and columns as the protocol has them or else by name: all tables of two variables lie alike."""
    own = (each for each in definition.tables if {each.rows, each.columns} == {table.rows, table.columns})
    known = next(((each.rows, each.columns) for each in own), None)
    return known or (min(table.rows, table.columns), max(table.rows, table.columns))


def _coded(protocol_digest: Sha256) -> Iterator[str]:
    """The clinical fields whose every value is one of the dictionary's codes, none of them `other`."""
    for field in protocol_with(protocol_digest).clinical.released_fields:
        if field.codes and OTHER not in {each.value for each in field.codes}:
            yield field.name


def _sorted(known: Mapping[str, Askable], asked: Histogram) -> Variable:
    if asked.variable not in known:
        raise PlanInvalid(problem=f"there is no variable `{asked.variable}`")
    return known[asked.variable].sorted_by(asked)


def _of_field(field: Field) -> Variable:
    """A clinical field of each study, in the dictionary's codes; of a number one band, which bins replace."""
    codes = tuple(Category(label=each.value, values=(each.value,)) for each in field.codes if each.value != OTHER)
    title = f"{field.title} ({field.unit})" if field.unit else field.title
    return Variable(
        name=field.name,
        title=title,
        unit="studies",
        source="clinical",
        field=field.name,
        categories=codes or (Category(label="any", lowest=field.minimum or 0),),
    )


def _bins(lowest: float, edges: tuple[float, ...]) -> Iterator[Category]:
    yield Category(label=f"under {_text(edges[0])}", lowest=lowest, below=edges[0])
    for low, high in pairwise(edges):
        yield Category(label=f"{_text(low)} to under {_text(high)}", lowest=low, below=high)
    yield Category(label=f"{_text(edges[-1])} and over", lowest=edges[-1])


def _text(number: float) -> str:
    return str(int(number)) if number.is_integer() else repr(number)
