"""`pacs` and `receive --accessions` over the web: each mistake has its sentence and exit code, as over DIMSE."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors.base import ExitCode
from tests.factories.dicom import make_ct
from tests.factories.dicomweb import Answer, dicomweb
from tests.factories.ports import free_port

Run = Callable[..., tuple[int, str, str]]
SLICES = make_ct(slices=3, rows=8, AccessionNumber="ACC77315", PatientID="P1")


@pytest.fixture
def home(tmp_path: Path, run: Run) -> Path:
    assert run("--home", tmp_path / "home", "init", "--name", "General")[0] == 0
    return tmp_path / "home"


def with_dicomweb(home: Path, url: str, **more: object) -> None:
    lines = {"url": url, "attempts": 3, "retry_seconds": 0.01, "answer_seconds": 2.0, **more}
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items())
    with (home / "site.toml").open("a") as file:
        file.write(f"\n[dicomweb]\n{text}")


def test_a_list_is_fetched_through_failures(run: Run, home: Path) -> None:
    """The server fails, then serves: every image arrives, once."""
    with dicomweb(SLICES) as fake:
        with_dicomweb(home, fake.url)
        (home / "list.txt").write_text("ACC77315\n")
        fake.first = [Answer(status=500)]
        code, text, _ = run("--home", home, "receive", "--accessions", home / "list.txt", "--json")
    report = json.loads(text)
    assert (code, report["announced"], report["arrived"], report["failed"]) == (0, 3, 3, 0)
    assert (report["studies"], report["instances"]) == (1, 3)


def test_a_refused_account_and_an_unreachable_server_have_their_errors(run: Run, home: Path) -> None:
    """No error quotes a value of the query, with `--debug` either; the list ends with that reason."""
    with dicomweb(SLICES) as fake:
        with_dicomweb(home, fake.url, attempts=1)
        fake.first = [Answer(status=401)] * 3
        code, _, text = run("--home", home, "pacs", "test")
        assert (code, fake.url in text, "401" in text) == (ExitCode.REFUSED, True, True)
        code, _, text = run("--debug", "--home", home, "pacs", "find", "--accession", "ACC77315")
        assert (code, "ACC77315" in text) == (ExitCode.REFUSED, False)
        (home / "list.txt").write_text("ACC77315\n")
        code, text, _ = run("--home", home, "receive", "--accessions", home / "list.txt", "--json")
        assert (code, json.loads(text)["rows"]) == (ExitCode.PARTIAL, {"1": "dicomweb-refused"})
    code, _, text = run("--debug", "--home", home, "pacs", "find", "--accession", "ACC77315")
    assert (code, "ACC77315" in text) == (ExitCode.UNREACHABLE, False)


def test_a_service_that_fails_is_named_with_what_to_do(run: Run, home: Path) -> None:
    """The search answers, and images come in no form that we read: a line for each, and its exit code."""
    with dicomweb(SLICES) as fake:
        with_dicomweb(home, fake.url)
        fake.first = [Answer(body=b"[]"), Answer(body=b"[]"), Answer(status=406), Answer(status=406)]
        code, text, _ = run("--home", home, "pacs", "test")
    lines = text.splitlines()
    assert code == ExitCode.REFUSED
    assert "QIDO-RS: works." in lines
    assert any(line.startswith("WADO-RS: ") and "HTTP 406" in line and "(pacs-http-406)" in line for line in lines)


def test_settings_that_cannot_work_are_refused_before_any_query(run: Run, home: Path) -> None:
    """A secret that others may read; both protocols at once; an address without encryption."""
    (home / "keys" / "token").write_text("secret")
    (home / "keys" / "token").chmod(0o644)
    before = (home / "site.toml").read_text()
    with_dicomweb(home, "https://pacs.example", token_file="keys/token")
    code, _, text = run("--home", home, "pacs", "test")
    assert (code, "chmod 600" in text) == (ExitCode.FAILED, True)
    with (home / "site.toml").open("a") as file:
        file.write(f'\n[pacs]\nhost = "127.0.0.1"\nport = {free_port()}\nae_title = "PACS"\n')
    code, _, text = run("--home", home, "pacs", "test")
    assert (code, "keep one of them" in text) == (ExitCode.USAGE, True)
    (home / "site.toml").write_text(before)
    with_dicomweb(home, "http://pacs.example")
    code, _, text = run("--home", home, "pacs", "test")
    assert (code, "`dicomweb.url`" in text, "https" in text) == (ExitCode.USAGE, True, True)
