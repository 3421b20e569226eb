"""A released table on the terminal; what it needs is loaded while the sites still count."""

from coordinator.cohort.released import ReleasedTable
from coordinator.cohort.rendering import footnote, sections
from coordinator.commands.output import show
from shared.proto.ricord.v1 import cohort_pb2
from shared.terminal import print_line
from shared.terminal_table import print_with_rich


def show_table(cohort: cohort_pb2.Cohort, *, as_json: bool) -> None:
    """One summary, whole."""
    if as_json:
        show(cohort, as_json=True)
        return
    table = ReleasedTable.model_validate_json(cohort.table)
    for grid in sections(table):
        print_with_rich(grid.title, ("", *grid.columns), grid.rows)
    print_line(f"{footnote(table)} Its id is {table.id}.")
