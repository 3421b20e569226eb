"""`python -m tests.mutants [ROOM]`: the changes of a room's guards, or of the lines touched, that no test notices.

Exits 1 where one survives that `tests/mutants.toml` does not call equivalent, or where a test kills one that it does.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.mutants.changes import Mutant, mutants_of
from tests.mutants.outcomes import TOO_LONG, Outcomes, digest_of
from tests.mutants.runs import NOT_LOADED, OURS, Collected, Reached, collect, end, fork, import_all, map_tests
from tests.mutants.table import ROOT, Equivalent, modules_of, read_table
from tests.mutants.touched import touched_lines

_LONGEST_MAPPING = 600  # seconds
_CONSOLE = Console(markup=False, highlight=False, soft_wrap=True)


def main() -> int:
    """Run the room asked for, or every room in the table that has touched lines."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument(
        "room", nargs="?", help="a folder such as site_node/screen; else the lines that a change touches"
    )
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no mutant after that time")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    table, until = read_table(), time.monotonic() + asked.seconds
    if asked.room:
        if asked.room not in table.rooms:
            sys.exit(f"{asked.room}: name its tests in tests/mutants.toml first")
        mutants = {asked.room: _mutants(asked.room)}
    elif (touched := touched_lines()) is None:
        _CONSOLE.print("No mutants are run: git has no earlier commit here to compare the lines with.")
        return 0
    else:
        mutants = {
            room: [m for m in _mutants(room) if touched.get(m.path, set()) & {*range(m.line, m.last_line + 1)}]
            for room in table.rooms
        }
    failures, left = 0, [room for room, those in mutants.items() if those]
    if not left:
        _CONSOLE.print("No mutants are run: no guard of a room in tests/mutants.toml is touched.")
    for at, room in enumerate(left):
        now = time.monotonic()
        if now >= until:
            _CONSOLE.print(f"{room}: {len(mutants[room])} mutants, none run: the time is over")
            continue
        share = now + (until - now) / (len(left) - at)
        equivalent = [entry for entry in table.equivalent if Path(entry.path).parent == Path(room)]
        kept = ROOT / ".mutants" / f"{room.replace('/', '-')}.jsonl"
        kept.parent.mkdir(exist_ok=True)
        outcomes = _run(room, table.rooms[room], mutants[room], kept, workers=asked.workers, until=share)
        failures += _report(room, mutants[room], outcomes, equivalent)
    return 1 if failures else 0


def _mutants(room: str) -> list[Mutant]:
    return [mutant for path in modules_of(room) for mutant in mutants_of(ROOT, path)]


def _run(room: str, tests: Sequence[str], mutants: list[Mutant], kept: Path, *, workers: int, until: float) -> Outcomes:
    """Run the tests over the mutants; exits where they fail without any change."""
    modules, outcomes = [ROOT / path for path in modules_of(room)], list[Outcomes]()

    def work(collected: Collected) -> None:
        outcomes.append(Outcomes(kept, _reached(tests, modules, kept.with_suffix(".reached.json"))))
        outcomes[0].run(mutants, collected, workers=workers, until=until)

    import_all(modules)
    try:
        collect(tests, work)
    except RuntimeError as problem:
        sys.exit(f"{room}: {problem}")
    return outcomes[0]


def _reached(tests: Sequence[str], modules: Sequence[Path], kept: Path) -> Reached:
    """What each test of a room reaches, as kept while no file of the programs or tests changes.

    Raises `RuntimeError` where a test fails without any change.
    """
    files = sorted(
        path for part in OURS for path in (ROOT / part).rglob("*") if path.is_file() and path.suffix != ".pyc"
    )
    digest = digest_of(files, *tests)
    if kept.exists() and (map_kept := json.loads(kept.read_text()))["digest"] == digest:
        return Reached(**map_kept["reached"])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "reached.json")
        mapping = fork(lambda: map_tests(tests, modules, out), seconds=_LONGEST_MAPPING, folder=Path(folder))
        if end(*os.waitpid(mapping, 0)) != 0:
            failed = out.read_text() if out.exists() else "the time, or their import"
            raise RuntimeError(f"its tests fail on the unchanged code: {failed}")
        reached = json.loads(out.read_text())
    kept.write_text(json.dumps({"digest": digest, "reached": reached}))
    return Reached(**reached)


def _report(room: str, mutants: list[Mutant], outcomes: Outcomes, equivalent: list[Equivalent]) -> int:
    """Print what survives and the room's line; the number of things to mend."""
    known = {mutant: failed for mutant in mutants if (failed := outcomes.failed(mutant)) is not None}
    surviving = [mutant for mutant, failed in known.items() if not failed]
    named = {entry.name for entry in equivalent}
    for mutant in (wrong := [mutant for mutant in surviving if mutant.name not in named]):
        _CONSOLE.print(
            f"{mutant.path}:{mutant.changed_line} {mutant.place}\n    - {mutant.was}\n    + {mutant.becomes}"
        )
    killed = {m.name for m, failed in known.items() if failed != TOO_LONG} - {m.name for m in surviving}
    late, unloaded = (sum(failed == how for failed in known.values()) for how in (TOO_LONG, NOT_LOADED))
    for entry in (stale := [entry for entry in equivalent if entry.name in killed]):
        _CONSOLE.print(
            f"tests/mutants.toml: no equivalent, a test kills it: {entry.path} {entry.place}: {entry.becomes}"
        )
    _CONSOLE.print(
        f"{room}: {len(mutants)} mutants, {len(known)} run, {len(known) - len(surviving)} killed "
        f"({late} by the time they took, {unloaded} at import), "
        f"{len(wrong)} survived, {len(surviving) - len(wrong)} equivalent; "
        f"{len(outcomes.seconds)} now, {sum(outcomes.seconds) / max(1, len(outcomes.seconds)):.1f} s of work each",
    )
    return len(wrong) + len(stale)


if __name__ == "__main__":
    sys.exit(main())
