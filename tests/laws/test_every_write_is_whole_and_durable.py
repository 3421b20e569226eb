"""Every write goes through `shared.durable`, and what it writes is whole and durable wherever it is cut short."""

import ast
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from shared import durable
from shared.errors.storage import DiskFull

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("site_node", "coordinator", "shared")  # what `compose` writes is made anew by each run of it
# What writes by itself, and why it may.
ELSEWHERE = {
    "coordinator/curation/fetching.py:write_at_most": "ciphertext, verified whole and deleted once it is opened",
    "coordinator/store/folder.py:durable": "syncs an upload of which a part arrived, before it says how much",
    "coordinator/store/folder.py:open_partial": "an upload grows and is resumed: it is never whole until `finalise`",
    "coordinator/store/folder.py:_sync": "acknowledges the part of an upload that has arrived",
    "coordinator/curation/fetching.py:fetching": "a lock",
    "coordinator/store/locks.py:holding": "an empty file to lock",
    "shared/backup/archive.py:write_backup": "a stream into what `replacing` writes",
    "shared/federation/secure_sum/memory.py:_locked": "an empty file to lock",
    "shared/proto/generate.py:_write": "a developer's tool, which writes into the checkout",
    "shared/protocol/build_iod.py:main": "a developer's tool, which writes into the checkout",
    "shared/protocol/build_profiles.py:main": "a developer's tool, which writes into the checkout",
    "shared/web/renew_assets.py:copy": "a developer's tool, which writes into the checkout",
    "shared/web/renew_assets.py:main": "a developer's tool, which writes into the checkout",
    "shared/monitoring/pulse.py:beat": "an empty file, whose time alone is read",
    "shared/terminal.py:run_app": "/dev/null in place of a standard output that nobody reads",
    "coordinator/research/simulated_run.py:main": "the pipe to the program that asks",
    "site_node/pixels/worker.py:main": "the pipe to the program that asks",
    "site_node/deidentify/output.py:write_new": "pixels moved by the kernel, below an unfinished folder",
    "site_node/deidentify/output.py:_put": "pixels moved by the kernel, below an unfinished folder",
    "site_node/deidentify/output.py:_kernel_copy": "pixels moved by the kernel, below an unfinished folder",
    "site_node/deidentify/blank.py:_put": "pixels in a new file, below an unfinished folder",
    "site_node/node/service.py:end": "a sentence on a terminal, within a signal's handler",
    "site_node/home/folder.py:_locked": "an empty file to lock",
}
WRITING_FLAGS = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND", "O_TRUNC"}
METHODS = {"write_bytes", "write_text", "rename", "hardlink_to", "symlink_to", "touch", "save_as", "mkstemp"}
METHODS |= {"NamedTemporaryFile", "fsync", "fdatasync", "copyfile", "copytree", "copy2", "pwrite", "sendfile"}
METHODS |= {"copy_file_range"}
OF_MODULE = {"os": {"link", "write", "replace", "truncate"}, "shutil": {"copy", "move"}}


def is_write(call: ast.Call) -> bool:
    """Whether a call opens a file for writing, writes, renames, links or syncs one."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    module = function.value.id if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) else ""
    if name in METHODS or name in OF_MODULE.get(module, ()):
        return True
    if name == "replace":  # of a path: the text's takes two arguments, a time's or a model's takes names
        return len(call.args) == 1 and not call.keywords
    if module == "os" and name == "open":
        return any(isinstance(node, ast.Attribute) and node.attr in WRITING_FLAGS for node in ast.walk(call))
    if name in {"open", "fdopen"}:
        modes = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
        texts = [node.value for node in modes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        return any(len(text) <= 3 and set(text) & set("wax+") for text in texts)
    return False


def writers(path: Path) -> Iterator[str]:
    """`path:function` of each innermost function that writes."""

    def visit(node: ast.AST, function: str) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            inner = child.name if isinstance(child, ast.FunctionDef) else function
            if isinstance(child, ast.Call) and is_write(child):
                yield f"{path.relative_to(ROOT)}:{inner}"
            yield from visit(child, inner)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), "")


def test_nothing_is_written_past_it() -> None:
    """A write that skips a sync or takes another temporary name is not written again; the list has no stale entry."""
    paths = [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if path.name != "durable.py"]
    writing = {place for path in paths for place in writers(path)}
    assert writing == set(ELSEWHERE)


@pytest.mark.parametrize(
    "line",
    [
        *("path.open('wb')", "open(path, mode='a')", "os.open(p, os.O_WRONLY | os.O_EXCL)", "os.fdopen(handle, 'w')"),
        *("partial.replace(path)", "path.rename(other)", "os.replace(a, b)", "os.link(a, b)", "path.write_text('x')"),
        *("os.fsync(handle)", "shutil.copyfile(a, b)", "target.hardlink_to(source)", "tempfile.mkstemp()"),
    ],
)
def test_each_way_to_write_is_seen(line: str) -> None:
    assert any(isinstance(node, ast.Call) and is_write(node) for node in ast.walk(ast.parse(line)))


@pytest.mark.parametrize(
    "line", ["path.open('rb')", "text.replace('a', 'b')", "now.replace(tzinfo=UTC)", "links.open(a)"]
)
def test_reading_is_no_writing(line: str) -> None:
    assert not any(isinstance(node, ast.Call) and is_write(node) for node in ast.walk(ast.parse(line)))


class Killed(BaseException):
    """SIGKILL: from here on this process does nothing more."""


class Calls:
    """System calls, of which one fails: an error once, or a kill, after which every further call is one too."""

    def __init__(self, failing: int, failure: int | None) -> None:
        self.left = failing
        self.failure = failure  # the error's number; `None` for a kill
        self.reached = False
        self.made: list[tuple[str, str]] = []  # name and path of each call that was made

    def step(self, name: str, path: object) -> None:
        """One call of the function `name`."""
        self.left -= 1
        if self.left <= 0 and self.failure is None:
            self.reached = True
            raise Killed
        may_lack_space = name not in {"unlink", "rmdir", "close", "fchmod"}
        if self.left <= 0 and not self.reached and (may_lack_space or self.failure == errno.EIO):
            self.reached = True
            raise OSError(self.failure, "injected")
        named = Path(f"/proc/self/fd/{path}").readlink() if isinstance(path, int) else path
        self.made.append((name, str(named)))

    def around(self, name: str) -> Callable[..., Any]:
        """The function `name` of `os`, as a step."""
        function = getattr(os, name)

        def stepping(*arguments: Any, **options: Any) -> Any:
            self.step(name, arguments[-1] if name in {"replace", "link"} else arguments[0])
            return function(*arguments, **options)

        return stepping

    def file(self, handle: int, mode: str, buffering: int = -1) -> Any:
        """`os.fdopen`, of which each write is a step that writes half when it fails."""
        raw = FailingFile(handle, mode)
        raw.calls = self
        return raw if buffering == 0 else io.BufferedWriter(raw)


class FailingFile(io.FileIO):
    """A file of `Calls`."""

    calls: Calls

    def write(self, data: Any, /) -> int:
        """A failing write leaves half of its bytes."""
        content = bytes(data)
        try:
            self.calls.step("write", self.fileno())
        except BaseException:
            super().write(content[: len(content) // 2])
            raise
        return super().write(content)


OLD, NEW = b"old" * 7, b"new" * 30_000


def fill(folder: Path) -> None:
    """What was there before each write: files, and a folder with a file in a folder."""
    (folder / "held" / "series").mkdir(parents=True)
    for name in ("file", "source", "log", "held/series/a"):
        (folder / name).write_bytes(OLD)


def make_folder(target: Path) -> None:
    """Publish a folder, with `NEW` in it."""
    with durable.unfinished_folder(target) as folder:
        (folder / "series").mkdir()
        durable.write_whole(folder / "series" / "b", NEW)
        durable.publish_folder(folder, target)


def copy(folder: Path) -> None:
    """Copy where the file system has no links."""

    def without_links(*_: object) -> None:
        raise OSError(errno.EPERM, "no links")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", without_links)
        durable.link_or_copy(folder / "source", folder / "second")


WRITES: dict[str, Callable[[Path], None]] = {
    "a new file": lambda folder: durable.write_whole(folder / "new", NEW),
    "a file in place of another": lambda folder: durable.write_whole(folder / "file", NEW),
    "an appended line": lambda folder: durable.append(folder / "log", NEW),
    "a claim": lambda folder: durable.claim(folder / "claimed"),
    "a link": lambda folder: durable.link_or_copy(folder / "source", folder / "second"),
    "a copy": copy,
    "a rename": lambda folder: durable.move(folder / "source", folder / "file"),
    "a new folder": lambda folder: make_folder(folder / "made"),
    "a folder in place of another": lambda folder: make_folder(folder / "held"),
}


def start_again(folder: Path) -> None:
    """What the next start does before it writes."""
    durable.clear_folder(folder)
    for name in ("made", "held"):
        with durable.unfinished_folder(folder / name):
            pass


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too; an empty folder counts as nothing."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


EXPECTED: dict[int | None, type[BaseException]] = {errno.ENOSPC: DiskFull, errno.EIO: OSError, None: Killed}


def attempt(folder: Path, write: Callable[[Path], None], failing: int, failure: int | None) -> Calls:
    """Write once while call number `failing` fails; says what was reached and made."""
    fill(folder)
    calls = Calls(failing, failure)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("open", "fchmod", "fsync", "replace", "link", "mkdir", "unlink", "rmdir", "close"):
            patch.setattr(os, name, calls.around(name))
        patch.setattr(os, "fdopen", calls.file)
        with suppress(EXPECTED[failure]):  # a full disk is said so
            write(folder)
    return calls


@pytest.mark.parametrize("failure", [errno.ENOSPC, errno.EIO, None], ids=["full", "broken", "killed"])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_what_is_cut_short_leaves_the_old_or_the_new(
    tmp_path: Path, write: Callable[[Path], None], failure: int | None
) -> None:
    """Whichever call fails, there is the old content or the new, and after the next start no temporary file."""
    attempt(tmp_path / "whole", write, 10_000, failure)
    fill(tmp_path / "before")
    old, new = content(tmp_path / "before"), content(tmp_path / "whole")
    assert old != new
    for failing in range(1, 10_000):
        folder = tmp_path / str(failing)
        if not attempt(folder, write, failing, failure).reached:
            break
        start_again(folder)
        left = content(folder)
        if write is WRITES["an appended line"] and failure is None:  # readers skip a line that a kill cut
            assert (OLD + NEW).startswith(left.pop("log"))
            assert left.items() <= old.items()
        else:
            assert left in (old, new), f"call {failing} of {write}"
    assert failing > 1


def test_bytes_and_names_are_synced_in_their_order(tmp_path: Path) -> None:
    """First the bytes, then the rename, then the folder: a power cut leaves no name without its bytes."""
    made = attempt(tmp_path / "file", WRITES["a file in place of another"], 10_000, errno.EIO).made
    (temporary,) = {path for name, path in made if name == "write"}
    folder = tmp_path / "file"
    assert [call for call in made if call[0] in {"fsync", "replace"}] == [
        ("fsync", temporary),
        ("replace", str(folder / "file")),
        ("fsync", str(folder)),
    ]
    made = attempt(tmp_path / "folder", WRITES["a new folder"], 10_000, errno.EIO).made
    folder = tmp_path / "folder"
    publish = made.index(("replace", str(folder / "made")))
    hidden = folder / ".made.unfinished"
    assert {("fsync", str(hidden)), ("fsync", str(hidden / "series"))} <= set(made[:publish])
    assert ("fsync", str(folder)) in made[publish:]
