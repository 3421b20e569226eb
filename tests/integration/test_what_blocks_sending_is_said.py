"""Where sealed studies wait, `status` and `doctor` say what blocks them and whose turn it is, while it does."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.errors.agreements import AgreementTerminated, StudyQuotaReached
from shared.errors.base import RicordError
from shared.errors.transport import CoordinatorUnreachable
from shared.examination import Health
from shared.proto.ricord.v1 import agreement_pb2 as pb
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from site_node.home.folder import SiteHome
from site_node.home.ledger import State
from site_node.membership.amendment import read_amendment, sign_amendment
from site_node.node import doctor
from site_node.node.doctor import examine
from site_node.node.intake import receive_source
from site_node.node.obstacles import kept_obstacle
from site_node.node.open import open_node
from site_node.node.passes import run_pass
from site_node.node.waits import Whom, waits_of
from site_node.pixels.client import PixelChecker
from tests.factories.federation import Federation, make_federation
from tests.factories.films import film, prepare

NAME = "Blocked Hospital"


@pytest.fixture
def federation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Federation:
    monkeypatch.setattr(doctor, "PixelChecker", lambda: PixelChecker(("echo", '{"ready": true}')))
    return make_federation(tmp_path)


def work(home: SiteHome, *patients: str) -> RicordError | None:
    """Receive a film of each patient, run a pass, and say what blocked it."""
    with open_node(home) as node:
        for patient in patients:
            receive_source(node, film(home, patient))
        return run_pass(node, State.SUBMITTED).progress.blocked


def said(home: SiteHome) -> tuple[dict[Whom, str], dict[str, str]]:
    """What is next, by whose turn it is, and the problems that the doctor sees."""
    with open_node(home, writing=False) as node:
        waits = {wait.whom: wait.next for wait in waits_of(node, running=False)}
    examined = list(examine(home, datetime.now(UTC)))
    return waits, {part.part: part.sentence for part in examined if part.health is Health.PROBLEM}


def test_a_quota_a_dead_line_and_an_end_are_named(federation: Federation) -> None:
    """More studies than agreed wait for an amendment, by which they are sent; a terminated site learns what is left."""
    with federation.serving():
        federation.curator()
        home, _ = federation.site(NAME, studies=1, modes=("submit",))
        prepare(home, ["P1", "P2", "P3"], workers=1)
        assert isinstance(work(home, "P1", "P2"), StudyQuotaReached)
        waits, problems = said(home)
        assert set(waits) == {Whom.AGREEMENT}
        assert "covers 1 studies" in waits[Whom.AGREEMENT]
        assert set(problems) == {"sending"}
        assert "ask the coordinator for an amendment" in problems["sending"]
        with federation.operator() as channel:
            draft = pb.DraftAgreementRequest(
                site_name=NAME,
                curator="curator",
                modes=["submit"],
                scope="Chest imaging",
                modalities=["DX"],
                licence="CC BY-NC 4.0",
                studies=5,
            )
            AgreementServiceStub(channel).AmendAgreement(pb.AmendAgreementRequest(draft=draft))
        read_amendment(home)
        sign_amendment(home, signatory="A. Signatory, Director")
        federation.execute(NAME)
        assert work(home) is None
        assert said(home) == ({}, {})
        assert kept_obstacle(home) is None
    assert isinstance(work(home, "P3"), CoordinatorUnreachable)
    waits, problems = said(home)
    assert set(waits) == {Whom.COORDINATOR}
    assert "No coordinator answers" in waits[Whom.COORDINATOR]
    assert "sending" not in problems
    with federation.serving():
        with federation.operator() as channel:
            AgreementServiceStub(channel).TerminateAgreement(pb.TerminateAgreementRequest(reference=NAME))
        assert isinstance(work(home), AgreementTerminated)
        waits, problems = said(home)
    assert "agreement reinstate" in waits[Whom.AGREEMENT]
    assert "agreement reinstate" in problems["agreement"]
    assert {"agreement", "sending"} <= set(problems)
    assert "coordinator" not in problems
