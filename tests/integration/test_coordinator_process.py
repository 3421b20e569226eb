"""The coordinator as a process: its commands, its start and end, and that a kill loses nothing."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from coordinator.home.init import create_federation
from coordinator.home.settings import Home
from shared.errors.base import RicordError
from shared.proto.ricord.v1 import submission_pb2 as pb
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.signed import of_manifest
from shared.wire import Credentials, connected, to_signed
from site_node.home.folder import init_home
from site_node.membership.agreement import sign_agreement
from site_node.membership.enrolment import enrol
from site_node.membership.invitation import read_agreement
from site_node.submit.client import submitting
from site_node.submit.pace import CHUNK
from tests.factories.federation import (
    Federation,
    Time,
    make_settings,
    sealed_bytes,
    sealed_study,
    settings_text,
)
from tests.factories.ports import free_ports
from tests.factories.raw_calls import dial
from tests.peers import check_no_defect

MIB = 1 << 20


def run(home: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command, which must end with `code`."""
    command = [sys.executable, "-m", "coordinator.cli", "--home", str(home), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    check_no_defect(done.stdout + done.stderr)
    return done


def run_json(home: Path, *arguments: str) -> Any:
    """What a command prints with `--json`."""
    return json.loads(run(home, *arguments, "--json").stdout)


@contextmanager
def serve(home: Path) -> Iterator[subprocess.Popen[str]]:
    """`serve --no-federation`, from its ready line on; killed at the end if it still runs."""
    command = [sys.executable, "-m", "coordinator.cli", "--home", str(home), "serve", "--no-federation"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ready: ")
            yield process
        finally:
            process.kill()


def make_home(folder: Path) -> Path:
    """Make the home of a new coordinator."""
    settings, home = make_settings(), Home(folder / "coordinator")
    create_federation(home, settings, settings_text(settings))
    return home.folder


def test_the_commands_take_a_study_from_invitation_to_curator(tmp_path: Path) -> None:
    """Every step works as a command, prints JSON for scripts, and is in the audit log."""
    home, curator = tmp_path / "coordinator", tmp_path / "curator"
    ports = zip(("--enrolment-port", "--main-port", "--fleet-port"), free_ports(3), strict=True)
    run(home, "init", "--federation", "test-federation", *(str(part) for pair in ports for part in pair))
    with serve(home) as process:
        run(curator, "curate", "init", "--token", run_json(home, "token", "curator", "--name", "cur")["token"])
        site = init_home(tmp_path / "site", name="Command Hospital")
        invitation = run_json(home, "site", "invite", "Command Hospital")["token"]
        draft = ("agreement", "draft", "Command Hospital", "--curator", "cur", "--modes", "submit")
        assert "over already" in run(home, *draft, "--expires", "2020-01-31", code=2).stderr
        drafted = run_json(home, *draft, "--ethics-reference", "EK 1", "--earlier-site-ids", "234567, 345678")
        assert drafted["state"] == "drafted"
        assert drafted["terms"]["modes"] == ["submit"]
        assert drafted["terms"]["ethics_reference"] == "EK 1"
        assert drafted["terms"]["earlier_site_ids"] == ["234567", "345678"]
        read_agreement(site, invitation)
        sign_agreement(site, invitation, signatory="D. Signatory, Director")
        executed = run_json(home, "agreement", "execute", "Command Hospital")
        member = enrol(site, executed["token"])
        assert member.site_id == executed["agreement"]["site_id"]
        with submitting(site, member) as submit:
            submit(sealed_study(site, member, sequence=2))
        listed = run_json(home, "submission", "gaps")
        assert listed["gaps"] == [{"site_id": member.site_id, "first": 1, "last": 1}]
        opened = run_json(curator, "curate", "open", "--all")
        assert [study["site_id"] for study in opened["opened"]] == [member.site_id]
        assert run_json(curator, "curate", "open", "--all")["opened"] == []
        assert "Nothing new to open; 1 study is open" in run(curator, "curate", "open", "--all").stdout
        assert run_json(home, "audit", "verify")["intact"] is True
        exported = run_json(home, "audit", "export", str(tmp_path / "log.jsonl"))
        read = run_json(tmp_path / "nowhere", "audit", "verify", "--file", str(tmp_path / "log.jsonl"))
        assert (read["events"], read["root"]) == (exported["events"], exported["root"])
        assert "agreement signed" in {event["action"] for event in run_json(home, "audit", "list")}
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_kill_during_an_upload_loses_nothing(tmp_path: Path) -> None:
    """SIGKILL the coordinator while 40 MiB come in: what it acknowledged is there, and only the rest is sent."""
    home = make_home(tmp_path)
    federation = Federation(Home(home), Home(home).settings(), Time(), tmp_path)
    with serve(home) as process:
        federation.curator()
        site, member = federation.site("Killed Hospital")
        sealed = sealed_bytes(site, member, 40 * MIB)
        whole = sealed.ciphertext.read_bytes()
        acknowledged = 0

        def parts() -> Iterator[pb.UploadRequest]:
            manifest = to_signed(of_manifest(sealed.manifest))
            yield pb.UploadRequest(header=pb.UploadHeader(manifest=manifest))
            for start in range(0, 25 * MIB, CHUNK):
                yield pb.UploadRequest(chunk=whole[start : start + CHUNK])
            while acknowledged < 24 * MIB:
                time.sleep(0.01)
            process.kill()

        with suppress(RicordError), connected(member.addresses.main, member.credentials) as channel:
            for answer in SubmissionServiceStub(channel).Upload(parts()):
                acknowledged = answer.durable
        process.wait(10)
    assert acknowledged == 24 * MIB
    with serve(home), submitting(site, member) as submit:
        request = pb.GetUploadOffsetRequest(manifest=to_signed(of_manifest(sealed.manifest)))
        with connected(member.addresses.main, member.credentials) as channel:
            assert SubmissionServiceStub(channel).GetUploadOffset(request).durable >= acknowledged
        submit(sealed)
    blobs = list((home / "blobs" / "sealed").rglob("*.age"))
    assert [blob.read_bytes() == whole for blob in blobs] == [True]
    assert not list((home / "blobs" / "partial").iterdir())


@pytest.mark.slow
def test_many_who_connect_at_once_do_not_end_it(tmp_path: Path) -> None:
    """Without any credential: 2,000 TLS connections by 100 threads, each closed at once."""
    home = Home(make_home(tmp_path))
    address, root = home.settings().addresses.enrolment, Credentials(home.root.read_bytes())

    def connect(_: int) -> None:
        with suppress(OSError):
            dial(address, root).close()

    with serve(home.folder) as process:
        with ThreadPoolExecutor(100) as pool:
            list(pool.map(connect, range(2000)))
        assert process.poll() is None
        assert run_json(home.folder, "site", "list") == []


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    """The error names the port, the host and the setting to change; exit code 1, and no second server starts."""
    home = make_home(tmp_path)
    port = Home(home).settings().main_port
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        error = run(home, "serve", "--no-federation", code=1).stderr
    assert f"Port {port} on 127.0.0.1 is already in use" in error
    assert "main_port" in error


def test_a_second_coordinator_on_sqlite_is_refused(tmp_path: Path) -> None:
    """Before it opens a port; a killed one leaves no lock."""
    home = make_home(tmp_path)
    with serve(home) as process:
        assert "PostgreSQL" in run(home, "serve", "--no-federation", code=1).stderr
        process.kill()
        process.wait(10)
    with serve(home):
        pass


def test_without_a_coordinator_a_command_says_so(tmp_path: Path) -> None:
    """Exit code 5, and with `--json` the error as JSON on standard error."""
    home = make_home(tmp_path)
    answer = json.loads(run(home, "site", "list", "--json", code=5).stderr)
    assert answer["error"]["code"] == "coordinator-unreachable"


def test_a_home_is_made_once(tmp_path: Path) -> None:
    """A second `init` changes nothing."""
    home = make_home(tmp_path)
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    run(home, "init", "--federation", "other-federation", code=2)
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("--federation", "Not A Name"), "--federation"),
        (("--federation", "fine", "--main-port", "0"), "--main-port"),
        (("--federation", "fine", "--main-port", "7443"), "The ports"),
        (("--federation", "fine", "--database-url", "mysql://localhost/x"), "database"),
    ],
)
def test_init_names_the_option_that_is_wrong(tmp_path: Path, arguments: tuple[str, ...], name: str) -> None:
    """The home is not made."""
    assert name in run(tmp_path / "home", "init", *arguments, code=2).stderr
    assert not (tmp_path / "home").exists()


def test_wrong_settings_stop_the_start(tmp_path: Path) -> None:
    """A missing home, an unknown key and a key with a wrong value are each named."""
    assert "coordinator.toml" in run(tmp_path / "none", "serve", code=2).stderr
    home = make_home(tmp_path)
    file = home / "coordinator.toml"
    text = file.read_text()
    file.write_text(text + "databse = 'x'\n")
    assert "`databse`" in run(home, "serve", code=2).stderr
    file.write_text(text.replace("main_port = ", "main_port = 9"))
    assert "main_port" in run(home, "serve", code=2).stderr


def test_the_coordinator_cannot_read_an_image() -> None:
    """Its program loads neither pydicom nor pynetdicom, and Flower and torch only when they are needed."""
    code = (
        "import importlib, pkgutil, sys, coordinator.cli, coordinator.commands\n"
        "for verb in pkgutil.iter_modules(coordinator.commands.__path__, 'coordinator.commands.'):\n"
        "    importlib.import_module(verb.name)\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydicom", "pynetdicom", "flwr", "torch"} & set(loaded)


def test_keys_and_home_are_private(tmp_path: Path) -> None:
    """Only the owner can read the keys of a coordinator's home, and the folder with its database."""
    home = make_home(tmp_path)
    for key in (*home.glob("ca/*.key"), *home.glob("keys/*.key"), home / "keys/signing.pem", home / "operator/tls.pem"):
        assert key.stat().st_mode & 0o077 == 0
    assert home.stat().st_mode & 0o077 == 0
