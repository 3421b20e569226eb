"""Every cell of the notebook runs, in its order, in a kernel of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "compose" / "notebooks" / "ask_many_hospitals.ipynb"


def cells() -> list[str]:
    """The code, cell by cell."""
    return [
        "".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_bytes())["cells"] if cell["cell_type"] == "code"
    ]


def test_every_cell_runs(tmp_path: Path) -> None:
    """From the repository's folder, without a federation; what the last lines show is there."""
    shown = "from sys import modules; modules['IPython.display'] = type('Shown', (), {'Markdown': str})"
    ends = [
        "assert len(tried.metrics) >= 3",
        "assert set(plots) >= {'learning', 'forest'}",
        "assert counted.result['cells']",
    ]
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join([shown, *cells(), *ends]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RICORD_")}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("cell", json.loads(NOTEBOOK.read_bytes())["cells"], ids=lambda cell: cell["id"])
def test_it_holds_no_output(cell: dict[str, object]) -> None:
    """What is committed is the question, not an answer of some machine."""
    assert cell.get("outputs", []) == []
    assert cell.get("execution_count") is None
