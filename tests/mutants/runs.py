"""Runs tests in forks of a process that has imported and collected them; a fork changes the functions that it has.

What a module does when it is imported cannot be changed so: such a fork imports everything that is ours anew.
"""

import contextlib
import gc
import importlib
import importlib.machinery
import io
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain, zip_longest
from pathlib import Path
from types import CodeType, FunctionType

import pytest
from coverage import Coverage
from hypothesis import Phase, settings

OURS = ("site_node", "coordinator", "shared", "tests")
NOT_LOADED = "the modules do not load"
_MEMORY = 8 << 30  # bytes; a change may make a loop endless
_SLOWER_TWINS = "[postgresql", "-bucket"  # such a law runs on SQLite and over a folder, too: no server in each fork
_OF_EACH_DATABASE = "tests/unit/coordinator/store/"  # the store has code for PostgreSQL alone, so both twins run
_EXAMPLES = 12  # of a property at most: what they let live, a unit test that states the law kills for less
_SETTINGS_OF = "_hypothesis_internal_use_settings"
_OPTIONS = [
    "-q",
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

    lines: dict[str, dict[str, list[str]]]  # of each path, by the line's number; "" stands for imports
    seconds: dict[str, float]

    def tests(self, path: str, first: int, last: int) -> list[str]:
        """Those that reach the lines; file by file, so that what a file's tests share is made once.

        First come the files that reach the fewest modules: they say most of these lines, and not all may be run.

        All, those that reach the module first, where none does, or where the lines run when modules are imported: no
        line shows who uses a constant.
        """
        lines = self.lines[path]
        near, module = self._near(path, first, last), {test for tests in lines.values() for test in tests}
        if near and not self.at_import(path, first, last):
            return self._by_file(near)
        return [*self._by_file(set(self.seconds) & module), *self._by_file(set(self.seconds) - module)]

    def at_import(self, path: str, first: int, last: int) -> bool:
        """Whether a module's import or a test's collection runs one of the lines."""
        return "" in self._near(path, first, last)

    def _near(self, path: str, first: int, last: int) -> set[str]:
        return {test for line in range(first, last + 1) for test in self.lines[path].get(str(line), ())}

    def _by_file(self, tests: set[str]) -> list[str]:
        whole = dict[str, float]()
        for test in tests:
            whole[_file(test)] = whole.get(_file(test), 0.0) + self.seconds[test]
        return sorted(
            tests,
            key=lambda test: (
                *(_is_twin(test), self._reach.get(_file(test), 0), whole[_file(test)]),
                *(_file(test), self.seconds[test], test),
            ),
        )

    @cached_property
    def _reach(self) -> dict[str, int]:
        """How many modules of the room the tests of each file reach."""
        reaching = ({_file(test) for tests in lines.values() for test in tests} for lines in self.lines.values())
        return Counter(chain.from_iterable(reaching))


class _Timed:
    """A plugin that names the running test to coverage and takes its time."""

    def __init__(self, coverage: Coverage) -> None:
        self.seconds = dict[str, float]()
        self.failed = ""
        self._coverage = coverage

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if not _is_twin(item.nodeid) or item.nodeid.startswith(_OF_EACH_DATABASE)]
        _with_few_examples(items)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._coverage.switch_context(nodeid)
        self.seconds[nodeid] = -time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed = report.nodeid

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.seconds[nodeid] += time.monotonic()


class Collected:
    """A plugin that lets `work` run some of the collected tests, in place of running them all."""

    def __init__(self, work: Callable[["Collected"], None]) -> None:
        self._work = work
        self._items = dict[str, pytest.Item]()
        self._failed = ""
        self.problem: BaseException | None = None

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of pytest's."""
        _with_few_examples(session.items)
        self._items = {item.nodeid: item for item in session.items}
        self._work(self)
        return True

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> bool:
        """Keep what `work` raised, which pytest would print."""
        self.problem = excinfo.value
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the name of the test that failed."""
        if report.failed:
            self._failed = self._failed or report.nodeid

    def failing_test(self, tests: Sequence[str]) -> str:
        """Run tests until one fails; its name, `NOT_LOADED` where only some could be collected, else nothing."""
        items = [self._items[test] for test in tests if test in self._items]
        for item, following in zip_longest(items, items[1:]):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._failed:
                break
        return self._failed or (NOT_LOADED if len(items) < len(tests) else "")


class Functions:
    """The functions of modules that are imported."""

    def __init__(self, modules: Iterable[Path]) -> None:
        paths = {str(path) for path in modules}
        self._functions = [
            function
            for function in gc.get_objects()
            if type(function) is FunctionType
            and function.__code__.co_filename in paths  # others may lie of their class
        ]

    def change(self, path: Path, code: CodeType) -> None:
        """Give every function of the module at `path` its code out of the changed module's.

        Raises `ValueError` where that changes nothing, or cannot be done.
        """
        changed, unchanged = dict[tuple[str, int], CodeType](), True
        for part in _functions_of(code):
            name = part.co_qualname, part.co_firstlineno
            if name in changed:
                raise ValueError(f"two functions of one name in a line of {path}")
            changed[name] = part
        for function in self._functions:
            was = function.__code__
            if was.co_filename == str(path):
                function.__code__ = changed[was.co_qualname, was.co_firstlineno]
                unchanged = unchanged and function.__code__ == was
        if unchanged:
            raise ValueError(f"no function of {path} is another")


def collect(tests: Sequence[str], work: Callable[[Collected], None]) -> None:
    """Import and collect the tests, and do `work` with those that could be."""
    collected = Collected(work)
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main([*_OPTIONS, *tests], plugins=[collected])
    if collected.problem is not None:
        raise collected.problem


def fork(work: Callable[[], int], *, seconds: float, folder: Path) -> int:
    """The process that does `work` and exits with its number; it leads a group and has `folder` for temporary files.

    It ends by a signal after `seconds` of its own work, or after more than twice as many of the clock: the machine may
    be busy, or the work may wait for ever.
    """
    child = os.fork()
    if child:
        return child
    code = 2
    try:
        os.setsid()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(30 + 2 * int(seconds))
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        code = work()
    finally:
        os._exit(code)


def end(child: int, status: int) -> int:
    """End what a fork left running; its exit code, or minus the signal that ended it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status)


def map_tests(tests: Sequence[str], modules: Sequence[Path], out: Path) -> int:
    """Run the tests on the unchanged code; what each reaches goes to `out`, or the one that fails; the exit code."""
    _forget_ours()
    coverage = Coverage(data_file=None, config_file=False, include=[str(path) for path in modules])
    timed = _Timed(coverage)
    coverage.start()
    import_all(modules)
    code = pytest.main([*_OPTIONS, "-x", *tests], plugins=[timed])
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


def failing_test_anew(path: Path, code: CodeType, tests: Sequence[str]) -> str:
    """Import everything with `code` for the module at `path`, and run the tests; the first that failed, or none."""
    _forget_ours()
    loader = importlib.machinery.SourceFileLoader
    unchanged = loader.get_code

    def get_code(self: importlib.machinery.SourceFileLoader, fullname: str) -> CodeType | None:
        return code if Path(self.path).resolve() == path else unchanged(self, fullname)

    pytest.MonkeyPatch().setattr(loader, "get_code", get_code)
    failed = [NOT_LOADED]
    collect([*dict.fromkeys(_file(test) for test in tests)], lambda those: failed.append(those.failing_test(tests)))
    return failed[-1]


def _with_few_examples(items: Iterable[pytest.Item]) -> None:
    for item in items:
        attributes = vars(getattr(item, "function", item))
        if isinstance(usual := attributes.get(_SETTINGS_OF), settings):
            attributes[_SETTINGS_OF] = settings(usual, max_examples=min(usual.max_examples, _EXAMPLES))


def import_all(modules: Iterable[Path]) -> None:
    """Import modules before any test does, as if it had reached their constants."""
    for path in modules:
        importlib.import_module(".".join(path.relative_to(Path.cwd()).with_suffix("").parts))


def _is_twin(test: str) -> bool:
    return any(twin in test for twin in _SLOWER_TWINS)


def _file(test: str) -> str:
    return test.partition("::")[0]


def _forget_ours() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
        del sys.modules[name]


def _functions_of(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _functions_of(constant)
