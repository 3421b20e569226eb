"""Certificates under cron and under wrong clocks: coordinator and site are processes with clocks of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from shared.crypto import pki
from site_node.home.folder import SiteHome
from site_node.home.ledger import State
from site_node.node.intake import receive_source
from site_node.node.open import open_node
from site_node.node.passes import run_pass
from tests.factories.federation import Federation, make_federation
from tests.factories.films import film, prepare
from tests.peers import shifting_library

PATIENTS = [f"clock-{number}" for number in range(20)]
COMMANDS = ("run", "--once"), ("submit",), ("agreement", "status")


def shifted(shift: str) -> dict[str, str]:
    """The environment of a process whose clock is moved, unless `shift` is empty; it measures durations as ever."""
    if not shift:
        return {**os.environ, "GRPC_VERBOSITY": "NONE"}
    clock = {"LD_PRELOAD": shifting_library(), "FAKETIME": shift, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    return {**os.environ, **clock, "GRPC_VERBOSITY": "NONE"}


@contextmanager
def serving(federation: Federation, shift: str) -> Iterator[None]:
    """The coordinator as a process."""
    command = [sys.executable, "-m", "coordinator.cli", "--home", str(federation.home.folder), "serve"]
    with subprocess.Popen(
        [*command, "--no-federation"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=shifted(shift),
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ready: ")
            yield
        finally:
            process.kill()


def site_says(home: SiteHome, shift: str, *arguments: str) -> str:
    """The code of a command's error, or `done`."""
    command = [sys.executable, "-m", "site_node.cli", "--home", str(home.folder), *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=shifted(shift))
    if done.returncode == 0:
        return "done"
    answer = json.loads(done.stdout or done.stderr.splitlines()[-1])
    return str((answer.get("error") or answer["blocked"])["code"])


@pytest.fixture(scope="module")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Federation, SiteHome]:
    """A site that enrolled now, and its coordinator, which does not serve."""
    federation = make_federation(tmp_path_factory.mktemp("clocks"))
    with federation.serving():
        federation.curator()
        home, _ = federation.site("Clock Hospital")
    prepare(home, PATIENTS, workers=1)
    return federation, home


@pytest.fixture
def site(enrolled: tuple[Federation, SiteHome]) -> Iterator[tuple[Federation, SiteHome]]:
    """The same with its first certificate and another study to send."""
    _, home = enrolled
    certificate = home.identity / "certificate.pem"
    first = certificate.read_bytes()
    with open_node(home) as node:
        receive_source(node, film(home, PATIENTS[len(node.ledger.studies())]))
        run_pass(node, State.SEALED)
    yield enrolled
    certificate.write_bytes(first)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_command_that_connects_renews_what_is_due(site: tuple[Federation, SiteHome], arguments: tuple[str]) -> None:
    """A site on which nothing but cron calls a command each three weeks stays a member."""
    federation, home = site
    certificate = home.identity / "certificate.pem"
    ends = pki.expires_at(certificate.read_bytes())
    with serving(federation, "+21d"):
        assert site_says(home, "+21d", *arguments) == "done"
    assert (pki.expires_at(certificate.read_bytes()) - ends).days == 21
    with serving(federation, "+42d"):
        assert site_says(home, "+42d", *arguments) == "done"


@pytest.mark.parametrize(
    ("theirs", "answers"),
    [
        (
            "",
            {
                "+40d": "clock-wrong",  # the site's certificate is over, but only by its own clock
                "+500d": "clock-wrong",  # so is the coordinator's
                "-2h": "clock-wrong",  # both begin later
                "+2h": "done",
            },
        ),
        (
            "+40d",
            {
                "": "clock-wrong",  # the certificate was never due by a clock that is slow, and is over now
                "+40d": "certificate-expired",
            },
        ),
    ],
)
def test_only_a_right_clock_finds_an_end(
    site: tuple[Federation, SiteHome], theirs: str, answers: dict[str, str]
) -> None:
    """By a wrong clock no command asks for another enrolment; by a right one it does."""
    federation, home = site
    with serving(federation, theirs):
        for ours, says in answers.items():
            for arguments in COMMANDS[1:]:
                assert (ours, arguments, site_says(home, ours, *arguments)) == (ours, arguments, says)


def test_a_wrong_clock_uses_no_token_up(tmp_path: Path) -> None:
    """Enrolment by a slow clock says so before it shows the token, which is good afterwards."""
    federation = make_federation(tmp_path)
    with ExitStack() as serve:
        serve.enter_context(federation.serving())
        federation.curator()
        home = federation.signed_site("Slow Hospital")
        token = federation.execute("Slow Hospital")
        for shift, says in (("-8m", "clock-wrong"), ("", "done")):
            assert site_says(home, shift, "enrol", "--token", token) == says
