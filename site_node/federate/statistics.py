"""The site's part of a cohort summary: count its snapshot by the definition, and give the counts to a secure sum only.

A count leaves this site only under a mask; the masks cancel in the sum over all sites and nowhere else.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shared.crypto.signing import SigningKey, VerifyKey
from shared.errors.federation import RunRefused
from shared.errors.protocol import ProtocolMismatch
from shared.federation.asked import SCALE, definition_asked, inputs_asked
from shared.federation.cell_policy import CellPolicy
from shared.federation.cohort import definition_of, subject_of
from shared.federation.noise import scale_of
from shared.federation.plan import StatisticsTask
from shared.federation.secure_sum.client import SumClient
from shared.federation.secure_sum.masks import Words
from shared.federation.secure_sum.memory import FileMemory
from shared.federation.secure_sum.messages import SumPlan
from shared.federation.secure_sum.policy import SumPolicy
from shared.ids import Sha256, SiteId
from shared.protocol.cohort import (
    MISSING,
    STAY,
    TOTALS,
    CohortDefinition,
    Level,
    Mean,
    Variable,
    filled_cells,
    table_cell,
)
from site_node.federate.noise import with_noise
from site_node.home.library import LibrarySeries, LibraryStudy

ONE_STUDY = "one study"  # the text that `days` gives for a patient with a single study

Value = str | int | float | None


class CountedItem(NamedTuple):
    """What is counted: a patient (all studies, by date), a study (itself) or a series (itself, in its study)."""

    studies: Sequence[LibraryStudy]
    series: LibrarySeries | None = None


def answer(
    stage: str,
    payload: bytes,
    *,
    site_id: SiteId,
    key: SigningKey,
    coordinator: VerifyKey,
    memory: Path,
    studies: Callable[[], Sequence[LibraryStudy]],
    policy: SumPolicy,
    protocol_digest: Sha256,
    cells: CellPolicy,
    roster: Iterable[SiteId] | None = None,
    task: StatisticsTask | None = None,
    minimum_patients: int = 0,
) -> bytes:
    """Answer one stage of a cohort summary's secure sum.

    `memory` is a folder kept between runs; `studies` gives what is counted; `cells` is the weakest policy for small
    cells that the site accepts; `roster`, when given, is the one that the site's policy approved; `task` is the run's,
    without one the protocol's whole cohort; of parts of it a site with fewer than `minimum_patients` tells nothing.
    Raises what `SumClient.answer` raises, `RunRefused`, `PlanInvalid` and `ProtocolMismatch`; then no count has left.
    """
    task = task or StatisticsTask(cohort=definition_of(protocol_digest).name)
    approved = None if roster is None else frozenset(roster)
    counts = LibraryCounts(protocol_digest, studies, cells, approved, task, minimum_patients)
    sum_memory = FileMemory(memory)
    sum_memory.wipe_stale()
    return SumClient(site_id, key, coordinator, policy, sum_memory).answer(stage, payload, counts)


class LibraryCounts(NamedTuple):
    """The library's counts as a contribution to a sum."""

    protocol_digest: Sha256
    studies: Callable[[], Sequence[LibraryStudy]]
    cells: CellPolicy
    roster: frozenset[SiteId] | None
    task: StatisticsTask
    minimum_patients: int

    def approve(self, plan: SumPlan) -> None:
        """Take part in a plan that asks for what the run does, of the approved roster, and hides enough of it.

        Of named parts of the cohort this library must hold enough patients, and a value of each variable.
        """
        if plan.protocol_digest != self.protocol_digest:
            raise ProtocolMismatch(held=self.protocol_digest, wanted=plan.protocol_digest)
        definition = self.definition
        if plan.subject != subject_of(definition) or plan.length != definition.length:
            raise RunRefused(problem="the sum is not of this protocol's cohort")
        if plan.inputs != inputs_asked(self.task, definition):
            raise RunRefused(problem="the sum is of other histograms or tables than the run")
        if self.roster is not None and self.roster != set(plan.sites):
            raise RunRefused(problem="the sum is over other sites than the run")
        if not CellPolicy.named(plan.cells).hides_as_much_as(self.cells):
            raise RunRefused(problem=f"the table would hide less than the policy {self.cells.name} does")
        if self.task.kinds != ("cohort",):
            check_enough(definition, count(definition, self.studies()), self.minimum_patients)

    @property
    def definition(self) -> CohortDefinition:
        """What the run's task counts."""
        return definition_asked(self.task, self.protocol_digest)

    def vector(self, plan: SumPlan) -> Words:
        """The counts, in the definition's order, with noise where the task asks for it."""
        del plan
        definition, studies = self.definition, self.studies()
        if self.task.privacy is None:
            return vector_of(definition, studies)
        counts = count(definition, studies, once=True)
        return with_noise([counts[cell] for cell in definition.cells], scale_of(definition, self.task.privacy))


def check_enough(definition: CohortDefinition, counts: Mapping[str, int], minimum_patients: int) -> None:
    """Raise `RunRefused` where there are too few patients, or nobody has a value of a variable."""
    if counts["patients"] < minimum_patients:
        raise RunRefused(problem=f"fewer than {minimum_patients} patients are in the library here")
    for variable in definition.variables:
        if counts[f"{variable.name}/{MISSING}"] == counts[variable.total]:
            raise RunRefused(problem=f"nothing in the library here has a value of `{variable.field}`")


def vector_of(definition: CohortDefinition, studies: Sequence[LibraryStudy]) -> Words:
    """The counts, and for each mean the sums of its values and of their squares, shape (definition.length,)."""
    counts = count(definition, studies)
    sums = (word for mean in definition.means for word in _sums(definition, mean, studies))
    return np.array([*(counts[cell] for cell in definition.cells), *sums], dtype=np.uint64)


def _sums(definition: CohortDefinition, mean: Mean, studies: Sequence[LibraryStudy]) -> tuple[int, int]:
    """Of each recorded value as a share of its bounds, in fixed point: the sum, and that of the squares."""
    variable = definition.variable(mean.variable)
    items = _items(studies)[variable.unit]
    recorded = {f"{variable.name}/{category.label}" for category in variable.categories}
    values = [_value(variable, item) for item in items if recorded & {*_cells(definition, variable.unit, item)}]
    spread = mean.high - mean.low
    shares = [min(max((float(value or 0) - mean.low) / spread, 0), 1) for value in values]
    return sum(round(share * SCALE) for share in shares), sum(round(share**2 * SCALE) for share in shares)


def count(definition: CohortDefinition, studies: Sequence[LibraryStudy], *, once: bool = False) -> dict[str, int]:
    """Every cell's count; each patient, study or series falls into one category of each variable.

    With `once` each patient has one study and series, the first ones, and of the totals patients alone are counted.
    """
    counts: Counter[str] = Counter()
    for unit, items in _items(studies, once=once).items():
        counts[unit] = len(items)
        for item in items:
            counts.update(_cells(definition, unit, item))
    counts["images"] = sum(series.instance_count for study in studies for series in study.series)
    if once:
        for total in TOTALS[1:]:
            del counts[total]
    for field in definition.filled:
        recorded, missing = filled_cells(field)
        present = sum(_clinical([study], field) is not None for study in studies)
        counts.update({recorded: present, missing: len(studies) - present})
    return {cell: counts[cell] for cell in definition.cells}


def _items(studies: Sequence[LibraryStudy], *, once: bool = False) -> dict[Level, list[CountedItem]]:
    patients: dict[str, list[LibraryStudy]] = defaultdict(list)
    for study in sorted(studies, key=lambda each: each.study_date):
        patients[study.patient].append(study)
    if once:
        studies = [each[0].model_copy(update={"series": each[0].series[:1]}) for each in patients.values()]
    return {
        "patients": [CountedItem(each) for each in patients.values()],
        "studies": [CountedItem([study]) for study in studies],
        "series": [CountedItem([study], series) for study in studies for series in study.series],
    }


def _cells(definition: CohortDefinition, unit: Level, item: CountedItem) -> list[str]:
    """The cells that one item is counted in."""
    variables = [variable for variable in definition.variables if variable.unit == unit]
    labels = {variable.name: variable.label_of(_value(variable, item)) for variable in variables}
    cells = {name: f"{name}/{label}" for name, label in labels.items()}
    counted = {each.name for each in variables if each.only is None or each.only in cells.values()}
    tables = (table for table in definition.tables if {table.rows, table.columns} <= counted)
    return [
        *(cell for name, cell in cells.items() if name in counted),
        *(table_cell(table, labels[table.rows], labels[table.columns]) for table in tables),
    ]


def _value(variable: Variable, item: CountedItem) -> Value:
    if variable.source in ("clinical", "image"):
        return _clinical(item.studies, variable.field)
    if variable.source == "series":
        value: Value = getattr(item.series, variable.field, None)
        return value
    if variable.field == "stay":
        return _stay(item.studies[0])
    return len(item.studies) if variable.field == "studies" else _days(item.studies)


def _clinical(studies: Sequence[LibraryStudy], field: str) -> Value:
    """The first recorded value of a clinical field."""
    values = ((study.clinical or {}).get(field) for study in studies)
    return next((value for value in values if value is not None and str(value).strip()), None)


def _days(studies: Sequence[LibraryStudy]) -> Value:
    """Days from the first study to the last; the patient's date shift does not change them."""
    if len(studies) == 1:
        return ONE_STUDY
    try:
        dates = [date(*time.strptime(study.study_date, "%Y%m%d")[:3]) for study in studies]
    except ValueError:
        return None
    return (max(dates) - min(dates)).days


def _stay(study: LibraryStudy) -> Value:
    """Days from admission to discharge, where both dates are there; the patient's date shift does not change them."""
    row = study.clinical or {}
    try:
        admitted, discharged = (date.fromisoformat(str(row.get(field))) for field in STAY)
    except ValueError:
        return None
    return (discharged - admitted).days
