"""A researcher asks three running nodes through a running coordinator, and only what an operator approved is asked."""

import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from coordinator.cohort.released import ReleasedTable
from coordinator.research.federation import Federation as Opened
from coordinator.research.plans import Statistics, Training
from coordinator.research.run import Run
from shared.crypto.pki import Role
from shared.errors.federation import RunDeclined, TooFewSites
from shared.errors.trust import CertificateForeign
from shared.ids import SiteId
from shared.proto.ricord.v1 import federation_pb2, site_pb2
from shared.proto.ricord.v1.federation_pb2_grpc import FederationServiceStub
from shared.proto.ricord.v1.site_pb2_grpc import SiteServiceStub
from shared.terminal import INTERRUPTED
from site_node.federate.policy import POLICY_FILE, write_default_policy
from tests.factories.federation import Federation, make_federation
from tests.factories.programs import process
from tests.factories.site_homes import fill_library

NAMES = ("North Hospital", "South Hospital", "West Hospital")
LEARNING = {"label": "pneumonia", "image_size": 32, "local_epochs": 1, "timeout_seconds": 120}


def hospital(federation: Federation, name: str) -> Path:
    """An enrolled site with images and rows."""
    home, member = federation.site(name)
    write_default_policy(home.folder / POLICY_FILE)
    fill_library(home.library, SiteId(member.site_id), 24)
    return home.folder


def decide(federation: Federation, run: Run, reason: str = "") -> None:
    with federation.operator() as channel:
        stub = FederationServiceStub(channel)
        if reason:
            stub.DeclineRun(federation_pb2.DeclineRunRequest(id=run.id, reason=reason))
        else:
            stub.ApproveRun(federation_pb2.ApproveRunRequest(id=run.id))


def revoke(federation: Federation, name: str) -> None:
    with federation.operator() as channel:
        request = site_pb2.RevokeCertificatesRequest(role=Role.RESEARCHER, name=name)
        SiteServiceStub(channel).RevokeCertificates(request)


def test_from_question_to_table_and_model(tmp_path: Path) -> None:
    """The table comes back, a killed watch leaves the run going, and a revoked researcher's run ends by that name."""
    federation = make_federation(tmp_path)
    with ExitStack() as stack:
        stack.enter_context(process("coordinator.cli", federation.home.folder, "serve", ready="ready"))
        federation.curator()
        home, wilma = federation.researcher("rita"), federation.researcher("wilma")
        folders = [hospital(federation, name) for name in NAMES]
        opened = Opened.open(home.folder)
        for folder in folders:
            stack.enter_context(process("site_node.cli", folder, "run", ready="ready"))
        assert {"training": 3, "statistics": 3}.items() <= opened.offered().sites.items()
        with pytest.raises(TooFewSites):
            opened.submit(Statistics(aim="How many?", minimum_sites=4))

        declined = opened.submit(Statistics(aim="How many?"))
        decide(federation, declined, "Ask the ethics committee first.")
        with pytest.raises(RunDeclined, match="ethics committee"):
            _ = declined.watch().result

        run = opened.submit(Statistics(aim="How many patients have which sex?", timeout_seconds=60))
        with subprocess.Popen(
            [sys.executable, "-m", "coordinator.research.cli", "--home", home.folder, "watch", run.id],
            stdout=subprocess.PIPE,
            text=True,
        ) as watching:
            assert watching.stdout is not None
            assert watching.stdout.readline() == "proposed\n"
            watching.send_signal(signal.SIGINT)
            assert watching.wait(30) == INTERRUPTED
        decide(federation, run)
        table = ReleasedTable.model_validate(opened.run(run.id).watch().result)
        assert (table.id, table.site_count) == (run.id, 3)
        assert table.counts["studies"] == 72

        learned = opened.submit(Training(aim="Is it seen?", rounds=1, **LEARNING))
        decide(federation, learned)
        assert learned.watch().state == "done", learned.news
        assert learned.model()

        ended = Opened.open(wilma.folder).submit(Training(aim="Is it seen?", rounds=20, **LEARNING))
        decide(federation, ended)
        for seen in ended.changes():
            if seen.state == "running" and "round 1 is done" in seen.news:
                revoke(federation, "wilma")
        assert ended.news == "failed: the certificate of researcher wilma was revoked"
        with pytest.raises(CertificateForeign):
            ended.refresh()
