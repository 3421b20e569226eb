"""The README's walk from nothing to an accepted study, an amendment and a withdrawal goes as it is written."""

import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.factories.dicom import make_ct, write_file
from tests.factories.ports import free_ports
from tests.peers import check_no_defect

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
NAMED_BY = {
    "KEY": ("ricord-site --home site review list", r"\b[0-9a-f]{32}\b"),
    "ID": ("ricord-coordinator --home centre submission list", r"\b[0-9a-f]{12}\b"),
}
HEADING = "### From nothing to an accepted study, an amendment, a withdrawal"
# What a line prints, by its beginning, in the order of the walk; the other lines only have to succeed.
SAID = (
    ("ricord-coordinator --home centre serve", r"^ready: "),
    ("ricord-coordinator --home curator curate init", r"^Curator anna of walk"),
    ("ricord-site --home site agreement read", r"version 1, is between General Hospital and walk"),
    ("ricord-site --home site agreement sign", r"version 1, is signed"),
    ("ricord-coordinator --home centre agreement execute", r"the agreement is in force"),
    ("ricord-site --home site receive", r"^1 study with 4 new images"),
    ("ricord-site --home site run", r"^1 quarantined"),
    ("ricord-site --home site run", r"^1 submitted"),
    ("ricord-coordinator --home curator curate open", r"^opened "),
    ("ricord-coordinator --home curator curate review mark", r"^4 images marked good; the study is reviewed"),
    ("ricord-coordinator --home curator curate review confirm", r"^accepted "),
    ("ricord-site --home site submission list", r"accepted"),
    ("ricord-site --home site agreement read", r"version 2, is between"),
    ("ricord-site --home site agreement sign", r"version 2, is signed"),
    ("ricord-coordinator --home centre agreement execute", r"the agreement is in force"),
    ("ricord-site --home site withdraw", r"^1 submission withdrawn"),
    ("ricord-coordinator --home curator curate open", r"^purged what was withdrawn"),
    ("ricord-coordinator --home centre submission withdrawals", r"deleted.*purged"),
)


def walk() -> Iterator[str]:
    """The lines of the walk without their comments."""
    text = (ROOT / "coordinator/README.md").read_text(encoding="utf-8")
    for line in text.partition(HEADING)[2].partition("```sh\n")[2].partition("```")[0].splitlines():
        yield line.partition("  #")[0].rstrip()


class Walk:
    """Two people in two folders; each line is typed as it stands, and `y` where something is asked."""

    def __init__(self, folder: Path, export: Path) -> None:
        self._folders = {"ricord-coordinator": folder / "centre", "ricord-site": folder / "hospital"}
        for each in self._folders.values():
            each.mkdir()
        self._values = {"/archive/export": str(export)}
        self.log = folder / "log"

    def type(self, line: str) -> str:
        """What a line prints; it must succeed. A token that it prints is the next line's TOKEN."""
        ours, theirs = pty.openpty()
        os.write(ours, b"y\n")
        with os.fdopen(ours), os.fdopen(theirs) as terminal:
            done = subprocess.run(
                self._arguments(line),
                cwd=self._folder(line),
                stdin=terminal,
                capture_output=True,
                text=True,
                check=False,
            )
        with self.log.open("a") as log:
            log.write(f"{line}\n{done.stdout}{done.stderr}")
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        for token in re.findall(r"^RICORD1-\S+", done.stdout, re.MULTILINE):
            self._values["TOKEN"] = token
        return done.stdout

    @contextmanager
    def left_running(self, line: str) -> Iterator[str]:
        """The first line that it prints, while it runs; it ends by SIGTERM, without an error."""
        with (
            self.log.open("a") as log,
            subprocess.Popen(
                self._arguments(line), cwd=self._folder(line), stdout=subprocess.PIPE, stderr=log, text=True
            ) as process,
        ):
            try:
                assert process.stdout is not None
                yield process.stdout.readline()
                process.terminate()
                assert process.wait(30) == 0
            finally:
                process.kill()

    def use_free_ports(self) -> None:
        """Serve beside other tests: what `init` wrote may be changed before the first `serve`."""
        file = self._folders["ricord-coordinator"] / "centre" / "coordinator.toml"
        text = file.read_text()
        for name, port in zip(("enrolment_port", "main_port", "fleet_port"), free_ports(3), strict=True):
            text = re.sub(rf"^{name} = \d+", f"{name} = {port}", text, flags=re.MULTILINE)
        file.write_text(text)

    def _folder(self, line: str) -> Path:
        return self._folders[line.partition(" ")[0]]

    def _arguments(self, line: str) -> list[str]:
        arguments = shlex.split(line)
        for name, (where, form) in NAMED_BY.items():
            if name in arguments and name not in self._values:
                self._values[name] = re.findall(form, self.type(where))[0]
        return [str(BIN / arguments[0]), *(self._values.get(each, each) for each in arguments[1:])]


def test_each_line_succeeds_and_says_what_the_walk_promises(tmp_path: Path) -> None:
    """Nothing is typed but what the README shows; tokens, the key and the id are those that the programs print."""
    (export := tmp_path / "export").mkdir()
    for number, image in enumerate(make_ct(rows=64)):
        write_file(image, export / f"{number}.dcm")
    person, expected = Walk(tmp_path, export), list(SAID)
    with ExitStack() as stack:
        for line in walk():
            if " serve" in line:
                person.use_free_ports()
                said = stack.enter_context(person.left_running(line))
            else:
                said = person.type(line)
            if expected and line.startswith(expected[0][0]):
                _, form = expected.pop(0)
                assert re.search(form, said, re.MULTILINE), (line, said)
    assert not expected
    check_no_defect(person.log.read_text())
