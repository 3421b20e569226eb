"""`kill -9` of the coordinator in mid-round: the sites notice it, and that it is back, and the run comes to its end."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from shared.ids import SiteId
from shared.manifest import canonical_json
from shared.proto.ricord.v1 import federation_pb2 as wire
from shared.proto.ricord.v1.federation_pb2_grpc import FederationServiceStub
from site_node.federate.policy import POLICY_FILE, write_default_policy
from site_node.federate.state import StateFile
from site_node.home.folder import SiteHome
from tests.factories.federation import Federation, make_federation
from tests.factories.programs import process
from tests.factories.site_homes import fill_library

TRAINING = {"image_size": 32, "rounds": 4, "local_epochs": 1, "minimum_cases": 1, "validation_share": 0.3}
NAMES = ("North Hospital", "South Hospital", "West Hospital")
NOTICED, STOPPED = 5.0, 15.0  # seconds


@contextmanager
def coordinator(federation: Federation) -> Iterator[subprocess.Popen[str]]:
    with process("coordinator.cli", federation.home.folder, "serve", ready="ready") as running:
        yield running


def comes_true(condition: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


def make_hospitals(federation: Federation) -> list[SiteHome]:
    """Enrolled sites with images to learn from."""
    homes = []
    for name in NAMES:
        home, member = federation.site(name)
        write_default_policy(home.folder / POLICY_FILE)
        policy = (home.folder / POLICY_FILE).read_text().replace("minimum_cases = 11", "minimum_cases = 1")
        (home.folder / POLICY_FILE).write_text(policy)
        fill_library(home.library, SiteId(member.site_id), 24)
        homes.append(home)
    return homes


def test_a_run_goes_on_after_the_coordinator_was_killed(tmp_path: Path) -> None:
    """From its last checkpoint; each site hears within seconds that the coordinator is back, and a stop ends each."""
    federation = make_federation(tmp_path)

    def run_is(state: str, run: str) -> bool:
        with federation.operator() as channel:
            return bool(FederationServiceStub(channel).GetRun(wire.GetRunRequest(id=run)).run.state == state)

    with ExitStack() as stack:
        with coordinator(federation) as first:
            federation.curator()
            homes = make_hospitals(federation)
            sites = [stack.enter_context(process("site_node.cli", home.folder, "run", ready="ready")) for home in homes]

            def all_are(*doing: str) -> bool:
                states = [StateFile(home.federation).read() for home in homes]
                return all(state is not None and state.doing in doing for state in states)

            assert comes_true(lambda: all_are("waiting"), 60)
            with federation.operator() as channel:
                plan = canonical_json({"purpose": "training", "training": TRAINING, "timeout_seconds": 120})
                run = FederationServiceStub(channel).StartRun(wire.StartRunRequest(plan=plan)).run.id
            folder = federation.home.federation / "runs" / run
            assert comes_true(lambda: any(folder.glob("*.safetensors")), 90)
            first.send_signal(signal.SIGKILL)
        assert comes_true(lambda: all_are("lost", "working"), 30)
        with coordinator(federation):
            back = time.monotonic()
            assert comes_true(lambda: all_are("working", "waiting"), NOTICED + 10)
            assert comes_true(lambda: run_is("done", run), 120), time.monotonic() - back
            assert comes_true(lambda: all_are("waiting"), NOTICED)
            with federation.operator() as channel:
                result = json.loads(FederationServiceStub(channel).GetRun(wire.GetRunRequest(id=run)).run.result)
            assert len(result["rounds"]) == TRAINING["rounds"]
            with federation.operator() as channel:
                FederationServiceStub(channel).StartRun(wire.StartRunRequest(plan=plan))
            assert comes_true(lambda: all_are("working"), 30)
            for site in sites:
                os.kill(site.pid, signal.SIGTERM)
            start = time.monotonic()
            assert [site.wait(STOPPED) for site in sites] == [0] * len(sites)
            assert time.monotonic() - start < STOPPED
