"""From a token to results over the wire: Python's calls, and the commands over them."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save
from typer.testing import CliRunner

from coordinator.cohort.released import ReleasedCell, ReleasedTable
from coordinator.federation.results import RoundResult, SiteFigures, TrainingResult
from coordinator.home.init import open_home_store
from coordinator.research import run as run_module
from coordinator.research.cli import app
from coordinator.research.federation import Federation as Opened
from coordinator.research.home import ResearcherHome, enrol
from coordinator.research.plans import Statistics, Training
from coordinator.research.results import write_results
from coordinator.research.run import Run
from coordinator.store.interface import Work
from shared.crypto.pki import Role, renew_at, serial_of
from shared.errors.base import RicordError
from shared.errors.federation import PlanInvalid, RunDeclined, RunFailed, RunNotProposed, RunUnfinished, TooFewSites
from shared.errors.inputs import InvalidArgument, NotFound
from shared.errors.transport import CoordinatorUnreachable
from shared.errors.trust import CertificateForeign, NotEnrolled, RoleNotAllowed, SignatureInvalid, TokenUsed
from shared.federation.plan import Plan
from shared.ids import Sha256, SiteId
from shared.manifest import canonical_json
from shared.member import member_channel
from shared.proto.ricord.v1 import cohort_pb2, federation_pb2, site_pb2
from shared.proto.ricord.v1.cohort_pb2_grpc import CohortServiceStub
from shared.proto.ricord.v1.federation_pb2_grpc import FederationServiceStub
from shared.proto.ricord.v1.site_pb2_grpc import SiteServiceStub
from shared.protocol.loader import load_protocol
from tests.factories.federation import Federation, running_federation

MODEL = save({"weight": np.arange(6, dtype=np.float32).reshape(2, 3)})
DIGEST = Sha256(hashlib.sha256(MODEL).hexdigest())
FIGURES = SiteFigures(site_id=SiteId("200000"), auc=0.75), SiteFigures(site_id=SiteId("200001"))
ROUND = RoundResult(round=1, seconds=2.5, training_images=60, training_loss=0.5, auc=0.8, sites=FIGURES)
RESULT = TrainingResult(rounds=(ROUND,), refusals=(), model="round-1.safetensors", model_sha256=DIGEST)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """With three hospitals, of which two may train."""
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        for name, modes in (
            ("North", ("cohort", "training")),
            ("South", ("cohort", "training")),
            ("West", ("cohort",)),
        ):
            running.site(f"{name} Hospital", modes=modes)
        yield running


def researcher(federation: Federation, name: str) -> ResearcherHome:
    home = ResearcherHome(federation.folder / f"researcher-{name}")
    enrol(home, federation.join_token("researcher", name))
    return home


@pytest.fixture(scope="module")
def home(federation: Federation) -> ResearcherHome:
    return researcher(federation, "rita")


@pytest.fixture(scope="module")
def opened(home: ResearcherHome) -> Opened:
    return Opened.open(home.folder)


def decide(federation: Federation, run: Run, reason: str = "") -> None:
    with federation.operator() as channel:
        stub = FederationServiceStub(channel)
        if reason:
            stub.DeclineRun(federation_pb2.DeclineRunRequest(id=run.id, reason=reason))
        else:
            stub.ApproveRun(federation_pb2.ApproveRunRequest(id=run.id))


def change(federation: Federation, run: Run, **update: object) -> None:
    """What the federation process would do."""
    store = open_home_store(federation.home, federation.settings)
    with store.begin() as work:
        row = work.run(run.id)
        assert row is not None
        work.put_run(row.model_copy(update=update))
        _release(work, row.plan, str(update.get("result", "")))
    store.close()


def _release(work: Work, plan: Plan, result: str) -> None:
    if plan.purpose == "statistics" and result:
        work.add_cohort(ReleasedTable.model_validate_json(result).row())


def table_for(run: Run) -> str:
    definition = load_protocol().cohort
    cells = tuple(ReleasedCell(name=cell, count=None, suppressed=True) for cell in definition.cells)
    table = ReleasedTable(
        id=run.id,
        definition=definition,
        definition_digest=definition.digest,
        protocol_digest=load_protocol().digest,
        policy="cms-11",
        roster_size=3,
        site_count=3,
        computed_at=datetime.now(UTC),
        cells=(ReleasedCell(name=cells[0].name, count=120, suppressed=False), *cells[1:]),
    )
    return canonical_json(table).decode()


def called(home: ResearcherHome, *arguments: object) -> Any:
    """A command's answer in JSON."""
    ended = CliRunner().invoke(app, ["--home", str(home.folder), *map(str, arguments)], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.output.splitlines()[-1])


def test_a_token_makes_a_member_once(federation: Federation, tmp_path: Path) -> None:
    """Keys stay with a new token; a token works once, in its own federation, and for its own role."""
    home, token = ResearcherHome(tmp_path / "home"), federation.join_token("researcher", "nora")
    with pytest.raises(NotEnrolled):
        Opened.open(home.folder)
    assert enrol(home, token).name == "nora"
    serial, fingerprint = serial_of(home.certificate.read_bytes()), home.load_keys().signing.fingerprint
    assert (home.keys.stat().st_mode | home.folder.stat().st_mode) & 0o077 == 0
    with pytest.raises(TokenUsed):
        enrol(home, token)
    answer = called(home, "enrol", "--token", federation.join_token("researcher", "nora"), "--json")
    assert answer == {"name": "nora", "federation": "test-federation", "fingerprint": fingerprint}
    assert serial_of(home.certificate.read_bytes()) != serial
    with pytest.raises(SignatureInvalid):  # other keys under the name of one who enrolled
        enrol(ResearcherHome(tmp_path / "thief"), federation.join_token("researcher", "nora"))
    with pytest.raises(RicordError):
        enrol(ResearcherHome(tmp_path / "curator"), federation.join_token("curator", "nobody"))


def test_a_certificate_that_is_due_is_renewed(
    federation: Federation, opened: Opened, home: ResearcherHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every member's, before a call."""
    before = home.certificate.read_bytes()
    monkeypatch.setattr("shared.member.pki.renew_at", lambda pem: renew_at(pem).replace(year=2000))
    opened.offered()
    assert serial_of(home.certificate.read_bytes()) != serial_of(before)


def test_what_may_be_asked_names_no_hospital(opened: Opened, home: ResearcherHome) -> None:
    """Definitions, labels and models, and how many hospitals agree to each purpose."""
    offered = opened.offered()
    assert {"training": 2, "statistics": 3}.items() <= offered.sites.items()
    assert offered.offer.cohort == load_protocol().cohort
    assert {"pneumonia", "covid_status", "icu"} <= {label.name for label in offered.offer.labels}
    text = json.dumps(called(home, "data", "--json"))
    assert not [name for name in ("North", "South", "West") if name in text]
    with pytest.raises(TooFewSites):
        opened.submit(Training(aim="Can pneumonia be seen?"))


def test_a_plan_goes_from_file_to_proposal(federation: Federation, home: ResearcherHome, tmp_path: Path) -> None:
    """`plan new`, `plan check`, `submit`, `runs`; the operator sees who asks, and what for."""
    file = tmp_path / "plan.toml"
    new = CliRunner().invoke(app, ["plan", "new", str(file)])
    assert (new.exit_code, file.exists()) == (0, True)
    with pytest.raises(InvalidArgument, match="there already"):
        CliRunner().invoke(app, ["plan", "new", str(file)], catch_exceptions=False)
    file.write_text(file.read_text().replace('aim = ""', 'aim = "How many are there?"'))
    assert called(home, "plan", "check", file, "--json") == called(home, "plan", "check", file, "--offline", "--json")
    submitted = called(home, "submit", file, "--json")
    assert (submitted["state"], submitted["aim"]) == ("proposed", "How many are there?")
    assert submitted["id"] in [run["id"] for run in called(home, "runs", "--json")]
    with federation.operator() as channel:
        (seen,) = [
            run
            for run in FederationServiceStub(channel).ListRuns(federation_pb2.ListRunsRequest()).runs
            if run.id == submitted["id"]
        ]
    assert (seen.researcher, seen.aim) == ("rita", "How many are there?")


def test_a_run_is_watched_to_its_end_and_again(federation: Federation, opened: Opened) -> None:
    """Each change is said once; before the end there is no result, and a declined run says why."""
    run, said = opened.submit(Statistics(aim="How many?")), list[str]()
    for state, expected in (("proposed", RunUnfinished), ("pending", RunUnfinished)):
        assert run.state == state
        with pytest.raises(expected, match=f"is {state}"):
            _ = run.result
        if state == "proposed":
            decide(federation, run)
            run.refresh()

    def say(line: str) -> None:
        said.append(line)
        if line == "pending":
            change(federation, run, state="running", progress="mask: waits for 200000")
        elif line.startswith("running"):
            change(federation, run, state="failed", problem="too few sites.", progress="")

    run.watch(say)
    assert said == ["pending", "running: mask: waits for 200000", "failed: too few sites"]
    again = list[str]()
    assert opened.run(run.id[:9]).watch(again.append).state == "failed"
    assert again == said[-1:]
    with pytest.raises(RunFailed, match="too few sites"):
        _ = run.metrics
    declined = opened.submit(Statistics(aim="How many?"))
    decide(federation, declined, "Ask the ethics committee.")
    with pytest.raises(RunDeclined, match="Ask the ethics committee"):
        _ = declined.result
    with pytest.raises(RunNotProposed):
        decide(federation, declined)


def test_a_coordinator_that_is_lost_is_waited_for(
    federation: Federation, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it was there; a watch that never reaches it ends at once."""
    monkeypatch.setattr(run_module, "_PAUSE_SECONDS", 0.01)
    run = opened.submit(Statistics(aim="How many?"))
    calls, connections = opened.calls, count(1)

    @contextmanager
    def cut() -> Iterator[Any]:
        number = next(connections)
        if number in {2, 3, 5}:
            raise CoordinatorUnreachable(address="127.0.0.1:1")
        if number == 4:
            decide(federation, run, "No.")
        with calls() as stub:
            yield SimpleNamespace(WatchRun=lambda request: _until_cut(stub.WatchRun(request))) if number == 1 else stub

    monkeypatch.setattr(opened, "calls", cut)
    assert [each.state for each in run.changes()] == ["proposed", "declined"]
    with pytest.raises(CoordinatorUnreachable):
        run.watch()


def _until_cut(answers: Iterator[Any]) -> Iterator[Any]:
    yield next(answers)
    raise CoordinatorUnreachable(address="127.0.0.1:1")


def test_a_table_comes_home(federation: Federation, opened: Opened, home: ResearcherHome, tmp_path: Path) -> None:
    """As JSON, the very bytes that were released, and as rows in which what is hidden is empty."""
    run = opened.submit(Statistics(aim="How many?"))
    decide(federation, run)
    table = table_for(run)
    change(federation, run, state="done", result=table)
    files = called(home, "results", run.id, "--to", tmp_path / "out", "--json")
    assert [Path(file).name for file in files][:3] == ["plan.json", "cohort.json", "cohort.csv"]
    assert (tmp_path / "out" / "cohort.json").read_text() == table
    assert (tmp_path / "out" / "cohort.csv").read_bytes().startswith(b"cell,count\r\npatients,120\r\nstudies,\r\n")
    plan = Plan.model_validate_json((tmp_path / "out" / "plan.json").read_bytes())
    assert (plan.run, plan.researcher, plan.aim) == (run.id, "rita", "How many?")
    other = opened.submit(Statistics(aim="How many?"))
    decide(federation, other)
    change(federation, other, state="done", result=table_for(other))
    with pytest.raises(InvalidArgument, match="another run's"):
        write_results(other, tmp_path / "out")


def test_a_model_comes_home_whole_or_not_at_all(federation: Federation, opened: Opened, tmp_path: Path) -> None:
    """Its digest is that of the result; figures by round and site are rows, and what a site withheld is empty."""
    federation.site("East Hospital")
    run = opened.submit(Training(aim="Can pneumonia be seen?"))
    decide(federation, run)
    with pytest.raises(RunUnfinished):
        run.model()
    file = federation.home.federation / "runs" / run.id / RESULT.model
    file.parent.mkdir(parents=True)
    file.write_bytes(MODEL)
    change(federation, run, state="done", result=canonical_json(RESULT).decode())
    assert run.model()["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert [(row["round"], row["site_id"], row["auc"]) for row in run.metrics] == [
        (1, "", 0.8),
        (1, "200000", 0.75),
        (1, "200001", None),
    ]
    names = [path.name for path in write_results(run, tmp_path / "out")]
    assert names[:4] == ["plan.json", "metrics.json", "metrics.csv", "model.safetensors"]
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == MODEL
    file.write_bytes(MODEL + b"x")
    with pytest.raises(SignatureInvalid, match="model"):
        run.model()
    file.unlink()
    with pytest.raises(NotFound):
        run.model()


def test_the_best_model_comes_beside_the_last(
    federation: Federation, opened: Opened, home: ResearcherHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another round was the best on validation images, whole or not at all; else it is the last one."""
    federation.site("Far Hospital")
    run = opened.submit(Training(aim="Can pneumonia be seen?"))
    decide(federation, run)
    folder = federation.home.federation / "runs" / run.id
    folder.mkdir(parents=True)
    (folder / "round-1.safetensors").write_bytes(MODEL + b"better")
    (folder / "round-2.safetensors").write_bytes(MODEL)
    rounds = (ROUND, ROUND.model_copy(update={"round": 2, "auc": 0.7}))
    better = Sha256(hashlib.sha256(MODEL + b"better").hexdigest())
    both = TrainingResult(
        rounds=rounds, refusals=(), model="round-2.safetensors", model_sha256=DIGEST, best=1, best_sha256=better
    )
    change(federation, run, state="done", result=canonical_json(both).decode())
    names = [path.name for path in write_results(run, tmp_path / "out")]
    assert {"model.safetensors", "best.safetensors"} < set(names)
    assert (tmp_path / "out" / "best.safetensors").read_bytes() == MODEL + b"better"
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == MODEL
    figures = list[tuple[str, float, int]]()
    monkeypatch.setattr("coordinator.research.tracking._tensorboard", lambda *_: lambda *figure: figures.append(figure))
    tracked = ["--tensorboard", tmp_path / "board"]
    for verb in (["results", run.id, "--to", tmp_path / "tracked"], ["watch", run.id]):
        figures.clear()
        called(home, *verb, *tracked, "--json")
        assert {("all/auc", 0.8, 1), ("200000/auc", 0.75, 2)} < set(figures)
    (folder / "round-1.safetensors").write_bytes(MODEL)
    with pytest.raises(SignatureInvalid, match="model"):
        run.model_file("best")
    change(federation, run, state="done", result=canonical_json(RESULT).decode())
    again = opened.run(run.id)
    assert again.model_file("best") == again.model_file() == MODEL


def test_nobody_sees_anothers_runs(federation: Federation, opened: Opened) -> None:
    """Neither run, nor table, nor model, by no call; a researcher decides and starts nothing, a curator sees none."""
    run, other = opened.submit(Statistics(aim="How many?")), Opened.open(researcher(federation, "otto").folder)
    decide(federation, run)
    change(federation, run, state="done", result=table_for(run))
    assert run.id not in [each.id for each in other.runs()]
    with pytest.raises(NotFound):
        other.run(run.id)
    stolen = Run(other, federation_pb2.Run(id=run.id, state="done"))
    for look in (lambda: stolen.result, lambda: list(stolen.changes()), lambda: fetched(other, run.id)):
        with pytest.raises(NotFound):
            look()
    with member_channel(other._member) as channel:
        cohorts = CohortServiceStub(channel)
        assert not cohorts.ListCohorts(cohort_pb2.ListCohortsRequest()).cohorts
    with pytest.raises(NotFound), member_channel(other._member) as channel:
        CohortServiceStub(channel).GetCohort(cohort_pb2.GetCohortRequest(id=run.id))
    with member_channel(opened._member) as channel:
        assert run.id in [
            each.id for each in CohortServiceStub(channel).ListCohorts(cohort_pb2.ListCohortsRequest()).cohorts
        ]
    with pytest.raises(RoleNotAllowed), member_channel(opened._member) as channel:
        FederationServiceStub(channel).ApproveRun(federation_pb2.ApproveRunRequest(id=run.id))
    with pytest.raises(RoleNotAllowed), member_channel(opened._member) as channel:
        FederationServiceStub(channel).StartRun(federation_pb2.StartRunRequest(plan=b"{}"))


def test_what_travels_to_every_hospital_is_short(opened: Opened) -> None:
    """A proposal is carried by each message of its run, so nothing is hidden beside a certificate in it."""
    message = federation_pb2.ProposeRunRequest(certificate=b"x" * 20_000)
    with pytest.raises(PlanInvalid, match="certificate"), member_channel(opened._member) as channel:
        FederationServiceStub(channel).ProposeRun(message)


def fetched(opened: Opened, run_id: str) -> bytes:
    with opened.calls() as stub:
        return b"".join(part.data for part in stub.FetchModel(federation_pb2.FetchModelRequest(id=run_id)))


def test_a_revoked_researcher_is_let_in_no_more(federation: Federation) -> None:
    """And what they proposed is declined by that name."""
    opened = Opened.open(researcher(federation, "vera").folder)
    run = opened.submit(Statistics(aim="How many?"))
    with federation.operator() as channel:
        request = site_pb2.RevokeCertificatesRequest(role=Role.RESEARCHER, name="vera")
        SiteServiceStub(channel).RevokeCertificates(request)
        seen = FederationServiceStub(channel).GetRun(federation_pb2.GetRunRequest(id=run.id)).run
    assert (seen.state, seen.problem) == ("declined", "the certificate of researcher vera was revoked")
    with pytest.raises(CertificateForeign):
        opened.runs()
