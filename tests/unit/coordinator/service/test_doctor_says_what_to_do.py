"""The doctor names each part of a coordinator that does not work, and what to do; the others are examined too."""

import shutil
import socket
import sqlite3
import ssl
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from coordinator.cli import app
from coordinator.home.settings import Home
from coordinator.service import doctor
from coordinator.service.doctor import examine
from coordinator.service.engine_state import Doing, EngineFile, EngineState
from shared.errors.base import ExitCode
from shared.examination import Health
from shared.terminal import run_app
from tests.factories.federation import Federation, running_federation

PARTS = [
    *("settings", "keys", "certificate authority", "certificates", "database", "audit", "clock"),
    *("sealed studies", "enrolment port", "main port", "federated runs"),
]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        running.site("Some Hospital")
        yield running


@pytest.fixture
def home(federation: Federation, tmp_path: Path) -> Home:
    """A copy of the home, whose ports are those of the coordinator that runs."""
    shutil.copytree(federation.home.folder, tmp_path / "home", ignore=shutil.ignore_patterns("*.signals"))
    return Home(tmp_path / "home")


def examined(home: Home, *, ahead: timedelta = timedelta()) -> dict[str, tuple[Health, str]]:
    parts = list(examine(home, datetime.now(UTC) + ahead))
    assert all(part.sentence.endswith(".") for part in parts)
    return {part.part: (part.health, part.sentence) for part in parts}


def files_of(home: Home) -> dict[Path, bytes]:
    """But for the database's, which SQLite itself folds together."""
    paths = (path for path in home.folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in paths if not path.name.startswith("coordinator.sqlite")}


def test_every_part_of_a_good_home_is_examined_and_nothing_is_changed(home: Home) -> None:
    """Federated runs are not served here, and the keys in `ca/` are as `init` made them; neither is a problem."""
    before = files_of(home)
    parts = examined(home)
    assert list(parts) == PARTS
    assert {name: health for name, (health, _) in parts.items() if health is not Health.GOOD} == {
        "certificate authority": Health.NOTE,
        "federated runs": Health.NOTE,
    }
    assert "`ca export-root`" in parts["certificate authority"][1]
    assert files_of(home) == before


def test_a_coordinator_that_does_not_run_is_no_problem(federation: Federation, home: Home, tmp_path: Path) -> None:
    """Its ports are free, and the line says who would serve them."""
    text = home.settings_file.read_text()
    for port in (federation.settings.enrolment_port, federation.settings.main_port):
        with socket.create_server(("127.0.0.1", 0)) as free:
            text = text.replace(str(port), str(free.getsockname()[1]))
    home.settings_file.write_text(text)
    parts = examined(home)
    assert {parts[name][0] for name in ("enrolment port", "main port")} == {Health.NOTE}
    assert Health.PROBLEM not in {health for health, _ in parts.values()}


def _open_key(home: Home) -> None:
    home.server_key.chmod(0o644)


def _no_key(home: Home) -> None:
    home.signing_key.unlink()


def _no_certificate(home: Home) -> None:
    home.server_certificate.unlink()


def _no_database(home: Home) -> None:
    (home.folder / "coordinator.sqlite").unlink()


def _old_database(home: Home) -> None:
    with sqlite3.connect(home.folder / "coordinator.sqlite") as database:
        database.execute("UPDATE alembic_version SET version_num = '0001'")
    database.close()


def _cut_log(home: Home) -> None:
    with sqlite3.connect(home.folder / "coordinator.sqlite") as database:
        database.execute(
            "UPDATE audit_events SET action = 'nothing' WHERE number = (SELECT max(number) FROM audit_events)"
        )
    database.close()


def _wrong_setting(home: Home) -> None:
    home.settings_file.write_text(home.settings_file.read_text() + "hots = 1\n")


@pytest.mark.parametrize(
    ("fault", "part", "words"),
    [
        (_wrong_setting, "settings", "no setting `hots`"),
        (_open_key, "keys", "server.key"),
        (_no_key, "keys", "signing"),
        (_no_certificate, "certificates", "server.pem"),
        (_no_database, "database", "coordinator.sqlite"),
        (_old_database, "database", "schema 0001"),
        (_cut_log, "audit", "audit"),
    ],
)
def test_each_fault_is_named_in_its_part(home: Home, fault: Callable[[Home], None], part: str, words: str) -> None:
    """And in no other, but where another needs what is missing and says so; a missing database is not made."""
    fault(home)
    parts = examined(home)
    assert [name for name, (health, _) in parts.items() if health is Health.PROBLEM][:1] == [part]
    assert words in parts[part][1]
    assert fault is not _no_database or not (home.folder / "coordinator.sqlite").exists()


def test_a_port_of_another_program_is_a_problem(federation: Federation, home: Home) -> None:
    """It is in use and does not answer as this coordinator."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        text, port = home.settings_file.read_text(), other.getsockname()[1]
        home.settings_file.write_text(text.replace(str(federation.settings.enrolment_port), str(port)))
        health, sentence = examined(home)["enrolment port"]
    assert (health, f"Port {port} is in use" in sentence) == (Health.PROBLEM, True)


def test_a_wrong_clock_is_named(home: Home) -> None:
    """One that is behind what happened, and one that is past the certificates' ends."""
    assert examined(home, ahead=-timedelta(days=1))["clock"][0] is Health.PROBLEM
    health, sentence = examined(home, ahead=timedelta(days=25))["certificates"]
    assert (health, "due for renewal" in sentence) == (Health.NOTE, True)
    health, sentence = examined(home, ahead=timedelta(days=40))["certificates"]
    assert (health, "Expired: operator" in sentence) == (Health.PROBLEM, True)


def test_a_folder_that_cannot_be_written_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of sealed studies."""

    def refuse(**_: object) -> NoReturn:
        raise PermissionError(13, "/secret")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    health, sentence = examined(home)["sealed studies"]
    assert (health, "cannot be written" in sentence, "/secret" in sentence) == (Health.PROBLEM, True, False)


@pytest.mark.parametrize("ours", [True, False])
def test_the_port_of_federated_runs_must_answer_as_this_coordinator(
    home: Home, monkeypatch: pytest.MonkeyPatch, ours: bool
) -> None:
    """With the certificate that the federation's root signed; any other program on that port is a problem."""
    monkeypatch.setattr(doctor, "_PATIENCE_SECONDS", 1.0)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home.server_certificate, home.server_key)
    with socket.create_server(("127.0.0.1", home.settings().fleet_port)) as listener:

        def answer() -> None:
            with suppress(OSError), listener.accept()[0] as line, context.wrap_socket(line, server_side=True):
                pass

        answering = threading.Thread(target=answer, daemon=True)
        if ours:
            answering.start()
        health, sentence = examined(home)["federated runs"]
    assert health is (Health.GOOD if ours else Health.PROBLEM), sentence


@pytest.mark.parametrize(
    ("doing", "restarts", "health"),
    [
        ("ended", 1, Health.PROBLEM),
        ("starting", 2, Health.PROBLEM),
        ("starting", 0, Health.NOTE),
        ("serving", 0, Health.PROBLEM),
        ("standby", 0, Health.NOTE),
        ("off", 0, Health.NOTE),
    ],
)
def test_a_dead_engine_is_a_problem_while_serve_runs(
    federation: Federation, home: Home, doing: Doing, restarts: int, health: Health
) -> None:
    """With since when, how often and why; where nobody serves at all, what was written last is no problem."""
    at = datetime(2026, 3, 1, 12, 5, tzinfo=UTC).astimezone()
    ended = {"restarts": restarts, "last_end": "exit code 9", "last_end_at": at} if restarts else {}
    EngineFile(home.federation).write(EngineState(doing=doing, since=at, **ended))
    actual, sentence = examined(home)["federated runs"]
    assert (actual, f"(since {at:%Y-%m-%d %H:%M})" in sentence) == (health, True), sentence
    assert ("log of `serve`" in sentence) is (health is Health.PROBLEM)
    assert (f"last on {at:%Y-%m-%d}" in sentence and "exit code 9" in sentence) is bool(restarts)
    with socket.create_server(("127.0.0.1", 0)) as free:
        text = home.settings_file.read_text()
        home.settings_file.write_text(text.replace(str(federation.settings.main_port), str(free.getsockname()[1])))
    assert examined(home)["federated runs"][0] is Health.NOTE


def test_a_full_disk_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before an upload meets it."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    health, sentence = examined(home)["sealed studies"]
    assert (health, "make room" in sentence) == (Health.PROBLEM, True)


@pytest.mark.parametrize("as_json", [False, True])
def test_the_exit_code_says_whether_there_is_a_problem(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    """0 or 1, for people and scripts."""
    arguments = ["ricord-coordinator", "--home", str(home.folder), "doctor", *(["--json"] if as_json else [])]
    for code in (ExitCode.DONE, ExitCode.FAILED):
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as end:
            run_app(app, "ricord-coordinator")
        assert end.value.code == code
        assert ("problem" in capsys.readouterr().out) is bool(code)
        _open_key(home)
