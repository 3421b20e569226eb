"""Runs the tests over mutants one by one, and keeps each outcome, so that an interrupted run goes on where it was."""

import gc
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from tests.mutants.changes import Mutant, compiled
from tests.mutants.runs import NOT_LOADED, Collected, Functions, Reached, end, failing_test_anew, fork
from tests.mutants.table import ROOT

_TESTS_OF_EACH = 60.0  # seconds, on the unchanged code: the slowest tests beyond are left out
TOO_LONG = "the time it takes"


class Outcomes:
    """The test that fails for each mutant, empty where none does.

    A failure holds while the module is unchanged and that test exists, a survival while no test changes.
    """

    def __init__(self, kept: Path, reached: Reached) -> None:
        self.seconds = list[float]()  # of work, by each mutant of this run
        self._kept = kept
        self._reached = reached
        self._tests = digest_of(sorted((ROOT / "tests").rglob("*.py")))
        self._failed = self._read()

    def failed(self, mutant: Mutant) -> str | None:
        """The test that the mutant fails; `None` while that is not known."""
        return self._failed.get(_key(mutant))

    def run(self, mutants: Iterable[Mutant], collected: Collected, *, workers: int, until: float) -> None:
        """Run the tests over those whose outcome is not known, in an order whose beginning is a fair sample."""
        waiting = sorted((mutant for mutant in mutants if self.failed(mutant) is None), key=_key)
        functions = Functions({ROOT / mutant.path for mutant in waiting})
        gc.freeze()  # a fork that walks over all objects copies them
        running = dict[int, tuple[Mutant, tempfile.TemporaryDirectory[str]]]()
        while running or (waiting and time.monotonic() < until):
            if waiting and len(running) < workers and time.monotonic() < until:
                mutant, folder = waiting.pop(0), tempfile.TemporaryDirectory()
                tests = self._tests_for(mutant)
                seconds = 10 + 3 * sum(self._reached.seconds[test] for test in tests)
                test = partial(self._test, mutant, tests, collected, functions)
                running[fork(test, seconds=seconds, folder=Path(folder.name))] = mutant, folder
                continue
            child, status, used = os.wait4(-1, 0)
            self.seconds.append(used.ru_utime + used.ru_stime)
            (mutant, folder), code = running.pop(child), end(child, status)
            folder.cleanup()
            if code < 0:
                self._keep(mutant, TOO_LONG)
            elif code:
                raise RuntimeError(f"the tests could not run over {mutant}")
        self._failed = self._read()

    def _read(self) -> dict[str, str]:
        rows = [json.loads(line) for line in self._kept.read_text().splitlines()] if self._kept.exists() else []
        tests = {*self._reached.seconds, TOO_LONG, NOT_LOADED}
        return {mutant: failed for mutant, digest, failed in rows if digest == self._tests or failed in tests}

    def _tests_for(self, mutant: Mutant) -> Sequence[str]:
        tests, seconds = list[str](), 0.0
        for test in self._reached.tests(mutant.path, mutant.line, mutant.last_line):
            seconds += self._reached.seconds[test]
            if seconds < _TESTS_OF_EACH:
                tests.append(test)
        return tests

    def _test(self, mutant: Mutant, tests: Sequence[str], collected: Collected, functions: Functions) -> int:
        path, code = ROOT / mutant.path, compiled(ROOT, mutant)
        anew = self._reached.at_import(mutant.path, mutant.line, mutant.last_line)
        if not anew:
            try:
                functions.change(path, code)
            except ValueError:
                anew = True
        self._keep(mutant, failing_test_anew(path, code, tests) if anew else collected.failing_test(tests))
        return 0

    def _keep(self, mutant: Mutant, failed: str) -> None:
        with self._kept.open("a") as kept:
            kept.write(json.dumps([_key(mutant), self._tests, failed]) + "\n")


def _key(mutant: Mutant) -> str:
    """The mutant of the module as it is now."""
    return hashlib.sha256(f"{mutant.number} {digest_of([ROOT / mutant.path])}".encode()).hexdigest()


def digest_of(paths: Iterable[Path], *names: str) -> str:
    """The SHA-256 of files, and of names beside them."""
    digest = hashlib.sha256("\n".join(names).encode())
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()
