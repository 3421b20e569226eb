"""A verb that only calls the coordinator starts without what prints, logs, counts or serves."""

import subprocess
import sys

from coordinator import cli

LARGE = {"flwr", "numpy", "rich", "sqlalchemy", "structlog", "torch"}


def test_a_call_loads_no_more_than_it_needs() -> None:
    """Its start would take longer than its call; and what loads no `structlog` has no need to be told where to log."""
    verbs = "".join(f"import coordinator.commands.{verb}\n" for verb in sorted(cli._LOG_NOTHING))
    script = f"import sys\nimport coordinator.cli\n{verbs}print(*({LARGE} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert loaded.stdout.split() == []
