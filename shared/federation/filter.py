"""Which part of a cohort a plan asks of: what falls into some of the closed categories of the cohort definition.

Exact counts of a part would tell what the table of the whole cohort hides, so only counts with noise have one, and
trainings where a site's policy allows it.
"""

from collections.abc import Sequence

from pydantic import Field, field_validator

from shared.errors.federation import PlanInvalid
from shared.frozen import Frozen
from shared.protocol.cohort import CohortDefinition


class Filter(Frozen):
    """What falls into one of `categories` of a variable of patients or of studies; a patient does with all studies."""

    variable: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    categories: tuple[str, ...] = Field(min_length=1, max_length=50)

    @field_validator("categories")
    @classmethod
    def _differ(cls, categories: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(categories)) < len(categories):
            raise ValueError("a category of the filter stands twice")
        return categories

    @property
    def words(self) -> str:
        """For a person who decides on the plan."""
        return f"{self.variable} {' or '.join(self.categories)}"


def check_filters(filters: Sequence[Filter], definition: CohortDefinition) -> None:
    """Raise `PlanInvalid` where one names what the definition has not, or two name the same variable."""
    variables = {variable.name: variable for variable in definition.variables}
    for each in filters:
        variable = variables.get(each.variable)
        if variable is None:
            raise PlanInvalid(problem=f"the cohort has no variable `{each.variable}` to filter by")
        if variable.unit == "series":
            raise PlanInvalid(problem=f"`{each.variable}` is of series: a filter is of patients or of studies")
        if absent := sorted(set(each.categories) - set(variable.labels)):
            raise PlanInvalid(problem=f"`{each.variable}` has no category `{absent[0]}`")
    if len({each.variable for each in filters}) < len(filters):
        raise PlanInvalid(problem="two filters are of one variable: name its categories in one")
