"""`receive --accessions`: what is whole goes on at once, nothing counts twice, and a failure for good ends at once."""

import io
import json
import os
import pty
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from shared.errors.base import ExitCode
from shared.ids import StudyKey
from site_node.commands import fetch_progress
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.home.retrieve_requests import Part
from site_node.node import fetch
from site_node.node.fetch import FetchProgress
from site_node.node.log_codes import log_codes_only
from tests.factories.dicom import make_ct
from tests.factories.dicomweb import Answer, FakeDicomweb, dicomweb
from tests.factories.live_folders import paths_in
from tests.factories.ports import free_port
from tests.unit.site_node.commands.test_dicomweb_mistakes_have_a_sentence import with_dicomweb

Run = Callable[..., tuple[int, str, str]]
COMMAND = (sys.executable, "-c", "from site_node.cli import main; main()")
WHOLE = make_ct(slices=3, rows=8, study="whole", AccessionNumber="WHOLE", PatientID="P1")
BROKEN = make_ct(slices=2, rows=8, study="broken", AccessionNumber="BROKEN", PatientID="P2")


class HalfBroken(FakeDicomweb):
    """Answers each image of one study with an HTTP status."""

    status = 503

    def answer(self, path: str) -> Answer:
        is_retrieval = len(path.partition("?")[0].strip("/").split("/")) % 2 == 0
        if self.status != 200 and is_retrieval and str(BROKEN[0].StudyInstanceUID) in path:
            return Answer(status=self.status)
        wanted = [name for name in ("WHOLE", "BROKEN") if f"AccessionNumber={name}" in path]
        self.instances = [image for image in (*WHOLE, *BROKEN) if not wanted or image.AccessionNumber in wanted]
        return super().answer(path)


@pytest.fixture
def home(tmp_path: Path, run: Run) -> Path:
    assert run("--home", tmp_path / "home", "init", "--name", "General")[0] == 0
    (tmp_path / "home" / "list.txt").write_text("WHOLE\nBROKEN\n")
    return tmp_path / "home"


def received(run: Run, home: Path, *more: str) -> tuple[int, dict[str, object]]:
    code, text, _ = run("--home", home, "receive", "--accessions", home / "list.txt", "--json", *more)
    return code, json.loads(text)


def counts(home: Path) -> tuple[int, int, int, dict[str, int]]:
    ledger = Ledger(SiteHome(home).ledger)
    total = ledger.requests.counts()
    ledger.close()
    return total.announced, total.arrived, total.failed, total.reasons


def test_a_whole_study_is_received_while_another_row_waits(run: Run, home: Path) -> None:
    """The command does not wait for the next try, an hour away, and says what it received."""
    with dicomweb(fake=HalfBroken([])) as fake:
        with_dicomweb(home, fake.url, attempts=8, retry_seconds=3600)
        code, report = received(run, home)
    assert (code, report["rows"]) == (ExitCode.PARTIAL, {"2": "pacs-http-503"})
    assert (report["studies"], report["instances"], report["waiting"]) == (1, 3, 1)


def test_a_study_goes_on_before_the_list_has_ended(home: Path) -> None:
    """While `--wait` waits for the second row, the first one's study is in the spool; a kill then loses nothing."""
    with dicomweb(fake=HalfBroken([])) as fake:
        with_dicomweb(home, fake.url, attempts=100, retry_seconds=0.5)
        words = ("--home", home, "receive", "--accessions", home / "list.txt", "--wait")
        with subprocess.Popen([*COMMAND, *map(str, words)], stderr=subprocess.PIPE, text=True) as process:
            try:
                until = time.monotonic() + 60
                while len(paths_in(home / "spool", "**/*.dcm")) < 3 and time.monotonic() < until:
                    time.sleep(0.05)
                assert len(list((home / "spool").rglob("*.dcm"))) == 3
                assert process.poll() is None
            finally:
                process.kill()
            assert process.stderr is not None
            lines = process.stderr.read().splitlines()
    assert {json.loads(line)["event"] for line in lines} >= {"pacs.attempt"}  # no terminal: JSON lines only


def test_the_same_list_again_counts_nothing_twice(run: Run, home: Path) -> None:
    """Rows that failed are asked for again under their first request; whole ones are not fetched again."""
    fake = HalfBroken([])
    fake.status = 404
    with dicomweb(fake=fake):
        with_dicomweb(home, fake.url, attempts=8, retry_seconds=3600)
        code, report = received(run, home)
        assert (code, report["rows"], report["instances"]) == (ExitCode.PARTIAL, {"2": "pacs-http-404"}, 3)
        assert counts(home) == (5, 3, 2, {"pacs-http-404": 1})
        code, report = received(run, home)
        assert (code, report["requests"], report["arrived"], report["instances"]) == (ExitCode.PARTIAL, 2, 3, 0)
        assert counts(home) == (5, 3, 2, {"pacs-http-404": 1})
        retrievals = [path for path in fake.paths if "studies/" in path and str(WHOLE[0].StudyInstanceUID) in path]
        assert sum("/series" not in path for path in retrievals) == 1
        fake.status = 200
        code, report = received(run, home)
    assert (code, report["arrived"], report["studies"], report["instances"]) == (ExitCode.DONE, 5, 1, 2)
    assert counts(home) == (5, 5, 0, {})


def test_a_study_asked_for_again_is_fetched_again_and_counts_once(run: Run, home: Path) -> None:
    """`pacs get` asks for what is here already, and then counts what the PACS has of it now, once."""
    with dicomweb(fake=HalfBroken([])) as fake:
        with_dicomweb(home, fake.url)
        for new in (3, 0):
            code, text, _ = run("--home", home, "pacs", "get", "--accession", "WHOLE", "--json")
            report = json.loads(text)
            assert (code, report["requests"], report["arrived"], report["instances"]) == (ExitCode.DONE, 1, 3, new)
            assert counts(home) == (3, 3, 0, {})
        assert sum("/series" not in path and "/studies/" in path for path in fake.paths) == 2


def test_a_study_of_two_requests_counts_as_the_last_says(home: Path) -> None:
    """Not as the one does that was made first, or whose name comes first."""
    ledger = Ledger(SiteHome(home).ledger)
    part = Part(key=StudyKey("0" * 32), announced=3, arrived=3)
    ledger.requests.add(["a-0", "b-0"])
    ledger.requests.reconcile("b-0", [part])
    ledger.requests.reconcile("a-0", [part.model_copy(update={"arrived": 2, "failed": 1, "reason": "not-arrived"})])
    ledger.close()
    assert counts(home) == (3, 2, 1, {"not-arrived": 1})


@pytest.mark.parametrize("status", [404, 406, 501])
def test_a_failure_for_good_uses_one_attempt(run: Run, home: Path, status: int) -> None:
    """The row has its HTTP status and a sentence, though eight attempts are left."""
    fake = HalfBroken([])
    fake.status = status
    with dicomweb(fake=fake):
        with_dicomweb(home, fake.url, attempts=8, retry_seconds=3600)
        code, text, _ = run("--home", home, "receive", "--accessions", home / "list.txt")
    assert (code, f"Row 2 (pacs-http-{status})" in text, f"HTTP {status}" in text) == (ExitCode.PARTIAL, True, True)


def test_queue_enters_the_list_and_asks_nothing(run: Run, home: Path) -> None:
    """It returns at once; a later command goes on. With `--wait`, or without a list, it is a mistake."""
    with_dicomweb(home, f"http://127.0.0.1:{free_port()}/web")
    code, report = received(run, home, "--queue")
    assert (code, report["requests"], report["waiting"]) == (ExitCode.DONE, 2, 2)
    for words in (("--accessions", "x", "--queue", "--wait"), (home, "--wait")):
        assert run("--home", home, "receive", *words)[0] == ExitCode.USAGE


def test_wait_waits_until_each_row_has_ended(run: Run, home: Path) -> None:
    """Also for a try that is further away than a command waits otherwise."""
    with dicomweb(fake=HalfBroken([])) as fake:
        with_dicomweb(home, fake.url, attempts=3, retry_seconds=0.2)
        code, report = received(run, home, "--wait")
    assert (code, report["waiting"], report["rows"]) == (ExitCode.PARTIAL, 0, {"2": "pacs-http-503"})


def test_where_the_node_ends_the_waiting_command_goes_on(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for a node that is there, and a while for one to be started again; then it fetches the rest itself."""
    monkeypatch.setattr(fetch, "_RETURN_SECONDS", 0.2)
    monkeypatch.setattr(fetch, "_POLL_SECONDS", 0.1)
    begun, ends = threading.Event(), threading.Event()

    def node() -> None:
        with SiteHome(home).writing(), SiteHome(home).serving():
            begun.set()
            ends.wait(60)

    thread, timer = threading.Thread(target=node), threading.Timer(1.0, ends.set)
    fake = HalfBroken([])
    fake.status = 200
    with dicomweb(fake=fake):
        with_dicomweb(home, fake.url)
        thread.start()
        assert begun.wait(10)
        timer.start()
        code, report = received(run, home, "--wait")
        assert ends.is_set()
    thread.join()
    assert (code, report["waiting"], report["instances"]) == (ExitCode.DONE, 0, 5)


def test_a_log_shows_at_once_what_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is no terminal, the first line does not wait for the second."""
    monkeypatch.setattr(fetch_progress, "_LINE_SECONDS", 3600.0)
    log_codes_only()
    soon = datetime.now(UTC) + timedelta(hours=1)
    with fetch_progress.shown(lambda: FetchProgress(rows=7, ended=3, images=61, next_try=soon)):
        threading.Event().wait(0.3)
        line = json.loads(capsys.readouterr().err)
    assert (line["rows"], line["ended"], line["next_try"]) == (7, 3, str(soon))


def test_a_list_that_is_here_is_no_failure(run: Run, home: Path) -> None:
    """Once the list is forgotten its numbers are still known: nothing failed, and the exit code says so."""
    fake = HalfBroken([])
    fake.status = 200
    with dicomweb(fake=fake):
        with_dicomweb(home, fake.url)
        assert received(run, home)[0] == ExitCode.DONE
        shutil.rmtree(SiteHome(home).requests, ignore_errors=True)
        code, report = received(run, home)
    assert (code, report["rows"]) == (ExitCode.DONE, {"1": "asked-before", "2": "asked-before"})


def test_beside_a_node_the_command_says_who_fetches(run: Run, home: Path) -> None:
    """It ends at once, counts nothing as received, and names the node and where to look."""
    with_dicomweb(home, f"http://127.0.0.1:{free_port()}/web")
    with SiteHome(home).writing(), SiteHome(home).serving():
        code, text, _ = run("--home", home, "receive", "--accessions", home / "list.txt")
    assert (code, "node that is running" in text, "Received:" in text) == (ExitCode.DONE, True, False)


def test_status_gives_the_reason_beside_the_state(run: Run, home: Path) -> None:
    """A request is counted once, with why it ended so."""
    fake = HalfBroken([])
    fake.status = 404
    with dicomweb(fake=fake):
        with_dicomweb(home, fake.url)
        received(run, home)
        text = run("--home", home, "status")[1]
    rows = [line.split("│") for line in text.splitlines() if "reconciled" in line]
    assert [[cell.strip() for cell in row[1:4]] for row in rows] == [["reconciled", "2", "pacs-http-404 1"]]


def test_a_terminal_shows_rows_images_and_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no line of the log."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200)
    monkeypatch.setattr(fetch_progress, "Console", lambda **_: console)
    monkeypatch.setattr(fetch_progress, "_BAR_SECONDS", 0.01)
    soon = datetime.now(UTC) + timedelta(hours=1)
    with fetch_progress.shown(lambda: FetchProgress(rows=7, ended=3, images=61, next_try=soon)):
        fetch_progress.log.warning("pacs.attempt")
        threading.Event().wait(0.3)
    text = screen.getvalue()
    assert all(part in text for part in ("3/7", "61 images", "images/s", f"next try at {soon.astimezone():%H:%M:%S}"))
    assert "pacs.attempt" not in text


@pytest.mark.slow
def test_a_real_terminal_gets_the_bar(home: Path) -> None:
    """The command's standard error is a terminal: rows and images, and no JSON."""
    ours, theirs = pty.openpty()
    with dicomweb(fake=HalfBroken([])) as fake:
        with_dicomweb(home, fake.url, attempts=3, retry_seconds=0.7)
        words = ("--home", home, "receive", "--accessions", home / "list.txt", "--wait")
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
        command = [*COMMAND, *map(str, words)]
        subprocess.run(command, stderr=theirs, stdout=subprocess.DEVNULL, env=environment, timeout=60, check=False)
    os.close(theirs)
    screen = os.read(ours, 1 << 20).decode(errors="replace")  # a read may end in the middle of a character
    os.close(ours)
    assert ("Fetching rows" in screen, '{"' in screen) == (True, False)
