"""Bad input as a person meets it: one clear sentence, the right exit code, no traceback, nothing half-written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors.base import ExitCode
from tests.factories.dicom import make_dx, write_file
from tests.factories.ports import free_port
from tests.peers import check_no_defect

BIN = Path(sys.executable).parent
NAME = "Kelstrupova"  # the patient of the test's image; no message may hold it


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BIN / program), *arguments], check=False, capture_output=True, text=True, timeout=60)


def files_of(folder: Path) -> dict[str, bytes]:
    """The content of a folder's files, by name."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "home"
    assert run("ricord-site", "--home", str(folder), "init", "--name", "General Hospital").returncode == 0
    return folder


def assert_one_sentence(result: subprocess.CompletedProcess[str], exit_code: ExitCode, *words: str) -> None:
    """The exit code, one line on standard error that ends like a sentence, and the words that say what and where."""
    assert result.returncode == exit_code, result.stderr + result.stdout
    check_no_defect(result.stderr + result.stdout)
    message = result.stderr.strip()
    assert message.startswith("error: ")
    assert message.endswith(".")
    assert len(message.splitlines()) == 1, message
    assert NAME.lower() not in message.lower()
    for word in words:
        assert word in message


def test_a_missing_home_says_to_make_one(tmp_path: Path) -> None:
    result = run("ricord-site", "--home", str(tmp_path / "none"), "status")
    assert_one_sentence(result, ExitCode.USAGE, "ricord-site init", "site.toml")
    result = run("ricord-coordinator", "--home", str(tmp_path / "none"), "site", "list")
    assert_one_sentence(result, ExitCode.USAGE, "ricord-coordinator init", "coordinator.toml")


def test_an_unknown_key_is_named_with_its_line(tmp_path: Path) -> None:
    """An unknown key in the settings stops the command with the key's name and line."""
    home = tmp_path / "home"
    assert run("ricord-site", "--home", str(home), "init", "--name", "X").returncode == 0
    settings = home / "site.toml"
    settings.write_text(settings.read_text() + "\nno_such_key = 1\n")
    line = str(len(settings.read_text().splitlines()))
    assert_one_sentence(
        run("ricord-site", "--home", str(home), "status"), ExitCode.USAGE, "no_such_key", f"line {line}"
    )


@pytest.mark.parametrize("content", ["nothing", "text", "text named .dcm"])
def test_a_folder_without_dicom_changes_nothing(home: Path, tmp_path: Path, content: str) -> None:
    """A folder that is empty or full of other things is named, and the home stays as it was."""
    if content != "nothing":
        (tmp_path / ("note.dcm" if content.endswith(".dcm") else "note.txt")).write_text(f"about {NAME}\n")
    before = files_of(home / "spool")
    result = run("ricord-site", "--home", str(home), "receive", str(tmp_path))
    assert_one_sentence(result, ExitCode.USAGE, str(tmp_path), "no DICOM")
    assert files_of(home / "spool") == before


def test_a_folder_that_is_not_there_is_named(home: Path, tmp_path: Path) -> None:
    result = run("ricord-site", "--home", str(home), "receive", str(tmp_path / "none"))
    assert_one_sentence(result, ExitCode.USAGE, str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("token", "code"),
    [("", ExitCode.USAGE), *((damaged, ExitCode.REFUSED) for damaged in ("RICORD1-", "RICORD1-e30", "hello"))],
)
def test_a_damaged_token_says_to_copy_it_whole(home: Path, token: str, code: ExitCode) -> None:
    """A damaged token is refused before anything is sent or written, and so is none."""
    before = files_of(home / "identity")
    result = run("ricord-site", "--home", str(home), "enrol", "--token", token)
    assert_one_sentence(result, code, "token")
    assert files_of(home / "identity") == before


def test_taking_part_before_enrolment_says_what_to_do(home: Path) -> None:
    result = run("ricord-site", "--home", str(home), "federate")
    assert_one_sentence(result, ExitCode.USAGE, "enrol --token")


def test_init_does_not_touch_a_home_that_is_there(home: Path) -> None:
    """A second `init` changes no key: a new secret would lose the linkage of the first."""
    before = files_of(home / "keys")
    assert_one_sentence(run("ricord-site", "--home", str(home), "init", "--name", "Y"), ExitCode.USAGE, str(home))
    assert files_of(home / "keys") == before


def test_a_coordinator_that_is_not_there_is_another_exit_code(tmp_path: Path) -> None:
    """An unreachable coordinator has an exit code of its own, on which a script may try again."""
    home = tmp_path / "coordinator"
    main = str(free_port())
    init = ("init", "--federation", "nobody-home", "--main-port", main)
    assert run("ricord-coordinator", "--home", str(home), *init).returncode == 0
    result = run("ricord-coordinator", "--home", str(home), "site", "list")
    assert_one_sentence(result, ExitCode.UNREACHABLE, f"127.0.0.1:{main}")


def test_debug_shows_where_and_never_what(home: Path, tmp_path: Path) -> None:
    """`--debug` shows files, lines and exception classes, and no value."""
    write_file(make_dx(PatientName=f"{NAME}^Jana"), tmp_path / f"{NAME}.dcm")
    (tmp_path / f"{NAME}.dcm").write_bytes((tmp_path / f"{NAME}.dcm").read_bytes()[:700])
    result = run("ricord-site", "--home", str(home), "receive", str(tmp_path), "--debug")
    assert result.returncode != 0
    assert NAME not in result.stderr + result.stdout
    result = run("ricord-site", "--debug", "--home", str(tmp_path / "none"), "status")
    assert re.search(r"\w+\.py", result.stderr)
    assert "SettingsMissing" in result.stderr
