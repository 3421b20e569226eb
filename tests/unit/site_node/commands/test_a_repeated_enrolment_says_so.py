"""Who repeats what a used token did in this home is told that it is done; anybody else that the token is used."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.errors.base import ExitCode
from shared.proto.ricord.v1 import site_pb2
from shared.proto.ricord.v1.site_pb2_grpc import SiteServiceStub
from site_node.home.folder import init_home
from tests.factories.federation import Federation, running_federation
from tests.unit.site_node.commands.conftest import Run

NAME = "Twice Hospital"


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    with running_federation(tmp_path / "federation") as running:
        running.curator()
        yield running


def test_enrolling_twice_is_no_mistake(federation: Federation, tmp_path: Path, run: Run) -> None:
    """The same answer again; but not to a home that never enrolled, nor once the membership was revoked."""
    home = federation.signed_site(NAME).folder
    shutil.copytree(home, tmp_path / "copy")
    token = federation.execute(NAME)
    code, first, _ = run("--home", home, "enrol", "--token", token)
    assert (code, run("--home", home, "enrol", "--token", token)[:2]) == (0, (0, first))
    assert "is enrolled as" in first
    site_id = json.loads(run("--home", home, "enrol", "--token", token, "--json")[1])["site_id"]
    assert site_id in first
    code, _, error = run("--home", tmp_path / "copy", "enrol", "--token", token)
    assert (code, "already used" in error) == (ExitCode.REFUSED, True)
    with federation.operator() as channel:
        request = site_pb2.RevokeCertificatesRequest(role="site", name=NAME)
        assert SiteServiceStub(channel).RevokeCertificates(request).name == NAME
    code, _, error = run("--home", home, "enrol", "--token", token)
    assert (code, "already used" in error) == (ExitCode.REFUSED, True)


def test_reading_and_signing_again_is_no_mistake(federation: Federation, tmp_path: Path, run: Run) -> None:
    """What was signed, when, by whom and what is next; but not to a home that signed nothing."""
    home, stranger = init_home(tmp_path / "home", name=NAME).folder, init_home(tmp_path / "other", name="Other").folder
    token = federation.invite(NAME)
    federation.draft(NAME)
    read, sign = ("agreement", "read", "--token", token), ("agreement", "sign", "--token", token, "--yes")
    signatory = ("--signatory", "A. Signatory, Director")
    assert run("--home", home, *read)[0] == 0
    code, _, error = run("--home", home, *sign[:-1], *signatory)  # no terminal
    assert (code, "--yes" in error) == (ExitCode.USAGE, True)
    assert run("--home", home, *sign, *signatory)[0] == 0
    for again in (read, (*sign, *signatory)):
        code, output, _ = run("--home", home, *again)
        assert (code, f"already signed on {datetime.now(UTC):%Y-%m-%d} by A. Signatory, Director" in output) == (
            0,
            True,
        )
        assert "agreement execute" in output
        assert json.loads(run("--home", home, *again, "--json")[1])["state"] == "signed"
        code, _, error = run("--home", stranger, *again)
        assert (code, "already used" in error) == (ExitCode.REFUSED, True)
