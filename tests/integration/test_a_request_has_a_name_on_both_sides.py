"""Logs have one schema, and whoever is refused can name the call: the other side's log has a line with that name."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from shared.errors.base import RicordError
from shared.logs import about
from shared.proto.ricord.v1 import agreement_pb2 as pb
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from tests.factories.federation import Federation, make_federation
from tests.factories.pipeline import make_home
from tests.factories.programs import coordinator, node


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    return make_federation(tmp_path)


def refused(federation: Federation) -> RicordError:
    with pytest.raises(RicordError) as refusal, federation.operator() as channel:
        AgreementServiceStub(channel).GetAgreement(pb.GetAgreementRequest(reference="nobody"))
    return refusal.value


def test_a_refusal_names_its_call(federation: Federation) -> None:
    """The caller's name of it is in the line that the coordinator wrote of it; another call has another name."""
    with federation.serving(), capture_logs() as logged:
        error, other = refused(federation), refused(federation)
    assert len({error.request, other.request, ""}) == 3
    assert "request" not in error.fields
    assert about(error) == {"code": error.code, "message": error.public, "request": error.request}
    [line] = [line for line in logged if line.get("request") == error.request]
    assert (line["event"], line["code"]) == ("refused", error.code)
    assert line["method"] == "/ricord.v1.AgreementService/GetAgreement"
    assert line["caller"].startswith("spiffe://")
    assert line["seconds"] >= 0


def test_every_line_of_a_service_has_the_schema(tmp_path: Path, federation: Federation) -> None:
    """Of a coordinator that is called, and of a node that finds what it cannot read; `time` is in UTC."""
    home = make_home(tmp_path / "home")
    (home.folder / "inbox" / "letter.txt").write_text("no image")
    with coordinator(federation.home.folder, tmp_path / "log"), node(home, tmp_path / "log") as running:
        refused(federation)
        running.terminate()
        assert running.wait(60) == 0
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {line["program"] for line in lines} >= {"ricord-coordinator"}
    for line in lines:
        assert {"time", "level", "program", "event"} <= set(line)
        assert datetime.fromisoformat(line["time"]).utcoffset() == timedelta()
