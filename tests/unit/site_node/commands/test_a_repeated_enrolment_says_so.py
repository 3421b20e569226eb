"""Who repeats `enrol` in a home that is a member is told that it is one; anybody else that the token is used."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors.base import ExitCode
from shared.proto.ricord.v1 import site_pb2
from shared.proto.ricord.v1.site_pb2_grpc import SiteServiceStub
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
