"""`python -m tests.benchmarks [NAME …]`: run the benchmarks and print one table; exit 1 if a promise does not hold."""

import importlib
import os
import pkgutil
import sys

from rich.console import Console
from rich.table import Table

import tests.benchmarks
from tests.benchmarks.measure import Row


def main(names: list[str]) -> int:
    """Run the named benchmark modules, or all."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program is compiled, as those beside ours are
    console = Console()
    table = Table("what", "rate", "beside", "ratio", "promised", title="make bench: medians, one run, this machine")
    rows: list[Row] = []
    modules = [module.name for module in pkgutil.iter_modules(tests.benchmarks.__path__) if module.name != "__main__"]
    for name in names or modules:
        benchmark = importlib.import_module(f"tests.benchmarks.{name}")
        if hasattr(benchmark, "rows"):
            console.print(f"{name} …")
            rows += benchmark.rows()
    for row in rows:
        promise = "" if row.promised is None else f"≥ {row.promised:g} {'✓' if row.holds else '✗'}"
        table.add_row(row.what, f"{row.rate:,.1f} {row.unit}", row.against, f"{row.ratio:.2f}", promise)
    console.print(table)
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
