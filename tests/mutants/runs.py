"""Runs tests in forks of a process that has loaded all libraries: each fork imports only what is ours, anew."""

import importlib
import importlib.machinery
import io
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import CodeType

import pytest
from coverage import Coverage
from hypothesis import Phase, settings

_OURS = {"site_node", "coordinator", "shared", "tests"}
_MEMORY = 8 << 30  # bytes; a change may make a loop endless
_SLOWER_TWIN = "[postgresql"  # the law runs on SQLite, too, which needs no server in each fork
_OPTIONS = [
    "-q",
    "-x",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "--hypothesis-profile=mutants",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
]

settings.register_profile(
    "mutants", deadline=None, derandomize=True, database=None, phases=(Phase.explicit, Phase.generate)
)


@dataclass(frozen=True)
class Reached:
    """Which tests reach which lines of the modules of a room, and how many seconds each takes."""

    lines: dict[str, dict[str, list[str]]]  # of each path, by the line's number; "" stands for its import
    seconds: dict[str, float]

    def tests(self, path: str, first: int, last: int) -> list[str]:
        """Those that reach the lines, the fastest first, then the others that reach the module.

        All, where none does, or where the lines run when the module is imported: no line shows who uses a constant.
        """
        lines = self.lines[path]
        near = {test for line in range(first, last + 1) for test in lines.get(str(line), ())}
        module = {test for tests in lines.values() for test in tests}
        all_tests = set(self.seconds) if "" in near or not near else set(self.seconds) & module
        return sorted(all_tests, key=lambda test: (test not in near, test not in module, self.seconds[test]))


class _Timed:
    """A plugin that names the running test to coverage and takes its time."""

    def __init__(self, coverage: Coverage) -> None:
        self.seconds = dict[str, float]()
        self.failed = ""
        self._coverage = coverage

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if _SLOWER_TWIN not in item.nodeid]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._coverage.switch_context(nodeid)
        self.seconds[nodeid] = -time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed = report.nodeid

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.seconds[nodeid] += time.monotonic()
        self._coverage.switch_context("")


class _Chosen:
    """A plugin that runs the chosen tests only, in their order, and keeps the name of the one that failed."""

    def __init__(self, tests: Sequence[str]) -> None:
        self.failed = ""
        self._order = {test: at for at, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if item.nodeid in self._order]
        items[:] = sorted(chosen, key=lambda item: self._order[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed = report.nodeid


def load_libraries(tests: Iterable[str]) -> None:
    """Import what the tests import, once for all forks."""
    with redirect_stdout(io.StringIO()):
        pytest.main([*_OPTIONS, "--collect-only", *tests])


def fork(work: Callable[[], int], *, seconds: float) -> int:
    """The process that does `work` and exits with its number; it leads a group.

    It ends by a signal after `seconds` of its own work, or after many more of the clock: the machine may be busy.
    """
    child = os.fork()
    if child:
        return child
    code = 2
    try:
        os.setsid()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60 + 10 * int(seconds))
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        for name in [name for name in sys.modules if name.split(".")[0] in _OURS]:
            del sys.modules[name]
        code = work()
    finally:
        os._exit(code)


def end(child: int, status: int) -> int:
    """End what a fork left running; its exit code, or minus the signal that ended it."""
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status)


def map_tests(tests: Iterable[str], modules: Sequence[Path], out: Path) -> int:
    """Run the tests on the unchanged code; what each reaches goes to `out`, or the one that fails; the exit code."""
    coverage = Coverage(data_file=None, config_file=False, include=[str(path) for path in modules])
    timed = _Timed(coverage)
    coverage.start()
    for path in modules:  # none of them later, as if a test had reached its constants
        importlib.import_module(".".join(path.relative_to(Path.cwd()).with_suffix("").parts))
    code = pytest.main([*_OPTIONS, *tests], plugins=[timed])
    coverage.stop()
    if code:
        out.write_text(timed.failed)
        return int(code)
    data = coverage.get_data()
    lines = {
        str(path.relative_to(Path.cwd())): {
            str(line): contexts for line, contexts in data.contexts_by_lineno(str(path)).items()
        }
        for path in modules
    }
    out.write_text(json.dumps(asdict(Reached(lines, timed.seconds))))
    return 0


def failing_test(path: Path, code: CodeType, tests: Sequence[str]) -> str:
    """Run the tests with the module at `path` replaced by `code`; the test that failed, empty if none did."""
    loader = importlib.machinery.SourceFileLoader
    unchanged = loader.get_code

    def get_code(self: importlib.machinery.SourceFileLoader, fullname: str) -> CodeType | None:
        return code if Path(self.path).resolve() == path else unchanged(self, fullname)

    pytest.MonkeyPatch().setattr(loader, "get_code", get_code)
    chosen = _Chosen(tests)
    ending = pytest.main([*_OPTIONS, *dict.fromkeys(test.partition("::")[0] for test in tests)], plugins=[chosen])
    return "" if ending == pytest.ExitCode.OK else chosen.failed or "the modules do not load"
