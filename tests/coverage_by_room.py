"""`python -m tests.coverage_by_room`: how much of each room the tests reached, when they last ran with coverage."""

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

from coverage import Coverage


def main() -> None:
    """Print a line for each room, the one with the smallest share of its branches first."""
    coverage = Coverage()
    coverage.load()
    with TemporaryDirectory() as folder:
        coverage.json_report(outfile=f"{folder}/report")
        files = json.loads(Path(folder, "report").read_text())["files"]
    rooms = defaultdict[str, Counter[str]](Counter)
    for path, figures in files.items():
        for room in (str(Path(path).parent), "together"):
            rooms[room].update({name: n for name, n in figures["summary"].items() if isinstance(n, int)})

    def share(room: str, reached: str, of: str) -> float:
        return rooms[room][reached] / max(rooms[room][of], 1)

    sys.stdout.write(f"{'room':34}branches  reached   lines  reached\n")
    for room in sorted(rooms, key=lambda room: share(room, "covered_branches", "num_branches")):
        sys.stdout.write(
            f"{room:34}{rooms[room]['num_branches']:8}{share(room, 'covered_branches', 'num_branches'):9.1%}"
            f"{rooms[room]['num_statements']:8}{share(room, 'covered_lines', 'num_statements'):9.1%}\n"
        )


if __name__ == "__main__":
    main()
