"""Runs and nodes in the store, and the federation process that executes the runs, without sockets."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from coordinator.enrolment.members import MemberService
from coordinator.federation.interface import FEDERATED
from coordinator.federation.process import _Worker
from coordinator.federation.registry import StoredNodes
from coordinator.federation.service import FederationService
from coordinator.home.identity import Identity
from coordinator.store.interface import Reading
from coordinator.store.records import Run
from coordinator.store.sql import SqlStore, open_store
from shared.agreement import Mode, State
from shared.crypto.pki import Role, make_ca
from shared.crypto.signing import SigningKey
from shared.errors.agreements import AgreementModeNotAllowed, AgreementNotExecuted
from shared.errors.federation import PlanInvalid, RunFailed
from shared.errors.inputs import InvalidArgument, NotFound
from shared.errors.protocol import ProtocolMismatch
from shared.federation.plan import Purpose
from shared.ids import RunId, SiteId
from shared.manifest import canonical_json
from shared.protocol.loader import load_protocol
from shared.token import Addresses
from site_node.federate.site import FederateSettings
from site_node.home.ledger import Ledger
from site_node.home.plans import PlanState
from tests.factories.local_runs import execute, worker_for
from tests.factories.registered import add_site
from tests.factories.site_homes import make_site, set_policy

KEY = SigningKey.generate()
DIGEST = load_protocol("ricord").digest
TRAINING = canonical_json(
    {"purpose": "training", "training": {"image_size": 32, "rounds": 1, "minimum_cases": 1, "validation_share": 0.3}}
)
STATISTICS = canonical_json({"purpose": "statistics", "statistics": {"cohort": load_protocol("ricord").cohort.name}})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'coordinator.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def identity() -> Identity:
    return Identity(
        federation="test-federation",
        addresses=Addresses(enrolment="127.0.0.1:1", main="127.0.0.1:2"),
        authority=make_ca("test-federation"),
        signing_key=KEY,
        protocol=load_protocol().named,
    )


@pytest.fixture
def service(store: SqlStore, identity: Identity) -> FederationService:
    return FederationService(store, identity, fleet_address="127.0.0.1:3", nodes=StoredNodes(store))


@pytest.fixture
def sites(tmp_path: Path, store: SqlStore, service: FederationService) -> dict[int, FederateSettings]:
    by_node = {}
    for n in range(3):
        site = make_site(tmp_path / str(n), f"{200000 + n}", KEY, images=20).model_copy(
            update={"protocol_digest": DIGEST}
        )
        set_policy(site, minimum_cases=1)
        add_site(store, KEY, site.site_id, SigningKey.from_pem(site.signing_key.read_bytes()))
        service.register_node(site.site_id, new_key(), protocol_digest=DIGEST)
        by_node[10 + n] = site
    return by_node


def new_key(curve: ec.EllipticCurve | None = None) -> bytes:
    key = ec.generate_private_key(curve or ec.SECP384R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.slow
def test_a_training_run_goes_from_pending_to_done(
    store: SqlStore, identity: Identity, service: FederationService, sites: dict[int, FederateSettings], tmp_path: Path
) -> None:
    """Asked for, signed, queued, trained: the result is in the row, the model in the run's folder, and why it ended."""
    request = json.loads(TRAINING)
    request["training"] |= {"rounds": 4, "early_stop": {"patience": 1, "least_improvement": 0.9}}
    run = service.start_run(canonical_json(request), actor="coordinator/operator")
    assert run.state == "pending"
    assert set(run.plan.roster) == {site.site_id for site in sites.values()}
    execute(store, identity, sites, tmp_path / "runs", run)
    done = service.run(run.id)
    assert (done.state, done.problem) == ("done", "")
    assert json.loads(done.result)["rounds"][0]["round"] == 1
    assert json.loads(done.result)["stopped"] == done.progress
    assert done.progress.startswith("stopped early after round 2 of 4")
    assert (tmp_path / "runs" / run.id / "round-1.safetensors").exists()


@pytest.mark.slow
def test_a_model_that_is_done_is_evaluated_at_other_sites(
    store: SqlStore, identity: Identity, service: FederationService, sites: dict[int, FederateSettings], tmp_path: Path
) -> None:
    """By run id; the roster is every other site, a site that trained cannot be named, and no run that is not done."""
    run = service.start_run(TRAINING, actor="coordinator/operator")
    wanted = {"purpose": "evaluation", "evaluation": {"run": run.id, "model": "last"}}
    with pytest.raises(PlanInvalid):
        service.start_run(canonical_json(wanted), actor="coordinator/operator")
    execute(store, identity, sites, tmp_path / "runs", run)
    others = {}
    for n in range(10, 13):
        site = make_site(tmp_path / str(n), f"{200000 + n}", KEY, images=20)
        others[10 + n] = site = site.model_copy(update={"protocol_digest": DIGEST})
        set_policy(site, purposes=["evaluation"])
        add_site(store, KEY, site.site_id, SigningKey.from_pem(site.signing_key.read_bytes()))
        service.register_node(site.site_id, new_key(), protocol_digest=DIGEST)
    with pytest.raises(PlanInvalid):
        service.start_run(canonical_json({**wanted, "sites": list(run.plan.roster)}), actor="coordinator/operator")
    evaluation = service.start_run(canonical_json(wanted), actor="coordinator/operator")
    assert set(evaluation.plan.roster) == {site.site_id for site in others.values()}
    execute(store, identity, others, tmp_path / "runs", evaluation)
    done = service.run(evaluation.id)
    assert (done.state, done.problem) == ("done", "")
    assert json.loads(done.result)["test"]["pooled"]["patients"] == 60


@pytest.mark.slow
def test_a_cohort_is_pooled_by_secure_sum_over_flower_queries(
    store: SqlStore, identity: Identity, service: FederationService, sites: dict[int, FederateSettings], tmp_path: Path
) -> None:
    """Three sites of twenty patients: the released table says sixty, and no message of a site holds its twenty."""
    run = service.start_run(STATISTICS, actor="coordinator/operator")
    execute(store, identity, sites, tmp_path / "runs", run)
    done = service.run(run.id)
    assert (done.state, done.problem) == ("done", "")
    cells = {cell["name"]: cell["count"] for cell in json.loads(done.result)["cells"]}
    assert cells["patients"] == 60


def test_a_refused_run_fails_and_says_which_site_and_why(
    store: SqlStore, identity: Identity, service: FederationService, sites: dict[int, FederateSettings], tmp_path: Path
) -> None:
    """Two willing sites are too few; the row carries the refusal."""
    set_policy(sites[10], purposes=["statistics"])
    run = service.start_run(TRAINING, actor="coordinator/operator")
    execute(store, identity, sites, tmp_path / "runs", run)
    failed = service.run(run.id)
    assert failed.state == "failed"
    assert f"{sites[10].site_id}: SITE_POLICY: the purpose training is not allowed" in failed.problem


@pytest.fixture
def worker(store: SqlStore, identity: Identity, sites: dict[int, FederateSettings], tmp_path: Path) -> _Worker:
    return worker_for(store, identity, sites, tmp_path / "runs", threading.Event())


def due(worker: _Worker) -> list[Run]:
    """The runs that may begin, once it is time to ask sites again."""
    worker._later = dict.fromkeys(worker._later, 0.0)
    return list(worker.next_pending({}))


def test_a_run_waits_for_persons_and_keeps_no_other_from_beginning(
    store: SqlStore, service: FederationService, sites: dict[int, FederateSettings], worker: _Worker
) -> None:
    """Its row says for whom; it begins once the last of them decided, and is begun once in the audit."""
    site = sites[10]
    set_policy(site, ask="training")
    run = service.start_run(TRAINING, actor="coordinator/operator")
    for _ in range(2):
        worker.execute(*due(worker))
        waiting = service.run(run.id)
        assert (waiting.state, waiting.progress) == ("pending", f"waits for a decision at {site.site_id}")
    other = service.start_run(STATISTICS, actor="coordinator/operator")
    assert [each.id for each in worker.next_pending({})] == [other.id]
    with closing(Ledger(site.ledger)) as ledger:
        ledger.plans.enter(run.id, "", PlanState.PENDING, label="x", expires_at=run.plan.expires_at, about="x")
        ledger.plans.decide(run.id, PlanState.APPROVED, actor="A. Miller", reason="seen")
    worker.execute(*(each for each in due(worker) if each.id == run.id))
    assert (service.run(run.id).state, service.run(run.id).problem) == ("done", "")
    with store.read() as reading:
        assert [event.action for event in reading.events() if event.object == run.id].count("run started") == 1


@pytest.mark.parametrize("ends", ["stopped", "too late"])
def test_a_run_does_not_wait_for_ever(
    service: FederationService,
    sites: dict[int, FederateSettings],
    worker: _Worker,
    monkeypatch: pytest.MonkeyPatch,
    ends: str,
) -> None:
    """It may be stopped; and when half of its plan's life is over it begins without those who have not decided."""
    for site in sites.values():
        set_policy(site, ask="training")
    run = service.start_run(TRAINING, actor="coordinator/operator")
    worker.execute(*due(worker))
    if ends == "stopped":
        assert service.stop_run(run.id, actor="coordinator/operator").state == "failed"
        assert not due(worker)
        return
    monkeypatch.setattr("coordinator.federation.process._waits_until", lambda plan: plan.created_at)
    worker.execute(*due(worker))
    why = f"{sites[10].site_id}: SITE_WAITS: a person of this site decides on it"
    assert why in service.run(run.id).problem


def test_a_stopped_run_is_not_worked_off(service: FederationService, worker: _Worker) -> None:
    """Stopped before it was chosen, or before it started, it fails at once; a second stop changes nothing."""
    run = service.start_run(TRAINING, actor="coordinator/operator")
    chosen = due(worker)
    stopped = service.stop_run(run.id, actor="coordinator/operator")
    assert (stopped.state, stopped.problem) == ("failed", "it was stopped")
    assert service.stop_run(run.id, actor="coordinator/operator") == stopped
    assert not due(worker)
    worker.execute(*chosen)
    assert service.run(run.id) == stopped


@pytest.mark.usefixtures("sites")
def test_a_query_does_not_wait_behind_a_training(
    store: SqlStore, identity: Identity, service: FederationService, sites: dict[int, FederateSettings], tmp_path: Path
) -> None:
    """Of each kind as many run at once as may, the oldest first; the others wait for their own kind only."""
    trainings = [service.start_run(TRAINING, actor="coordinator/operator").id for _ in range(3)]
    queries = [service.start_run(STATISTICS, actor="coordinator/operator").id for _ in range(2)]
    worker = worker_for(store, identity, sites, tmp_path, threading.Event())
    assert {run.id for run in worker.next_pending({})} == {*trainings[:2], queries[0]}
    begun: dict[RunId, Purpose] = {trainings[0]: "training", queries[0]: "statistics"}
    assert [run.id for run in worker.next_pending(begun)] == [trainings[1]]
    assert [run.id for run in worker.next_pending({trainings[0]: "training"})] == [queries[0], trainings[1]]


@pytest.mark.usefixtures("sites")
def test_a_training_that_failed_goes_on_by_a_command(store: SqlStore, service: FederationService) -> None:
    """It is pending again under its own plan; nothing else can go on: no query, no running one, no expired plan."""
    run = service.start_run(TRAINING, actor="coordinator/operator")
    query = service.start_run(STATISTICS, actor="coordinator/operator")
    with pytest.raises(RunFailed):
        service.resume_run(run.id, actor="coordinator/operator")
    for each in (run, query):
        service.stop_run(each.id, actor="coordinator/operator")
    resumed = service.resume_run(run.id, actor="coordinator/operator")
    assert (resumed.state, resumed.problem, resumed.ended_at, resumed.signed) == ("pending", "", None, run.signed)
    with pytest.raises(RunFailed):
        service.resume_run(query.id, actor="coordinator/operator")
    service.stop_run(run.id, actor="coordinator/operator")
    service._now = lambda: run.plan.expires_at
    with pytest.raises(RunFailed):
        service.resume_run(run.id, actor="coordinator/operator")


def test_what_a_run_waits_for_is_in_its_row(
    store: SqlStore, identity: Identity, service: FederationService, sites: dict[int, FederateSettings], tmp_path: Path
) -> None:
    """And it neither undoes a stop that came meanwhile, nor outlasts the run."""
    run = service.start_run(TRAINING, actor="coordinator/operator")
    worker = worker_for(store, identity, sites, tmp_path, threading.Event())
    with store.begin() as work:
        work.put_run(run.model_copy(update={"state": "stopping"}))
    worker._progress(run)("train, round 1: waits for 200000")
    assert (service.run(run.id).progress, service.run(run.id).state) == ("train, round 1: waits for 200000", "stopping")
    worker._end(run, problem="it was stopped")
    assert service.run(run.id).progress == ""


@pytest.mark.usefixtures("sites")
def test_who_takes_part_is_worked_out_when_it_changes(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked a thousand times, read once; after a change, and after a day on which somebody's part ends, once more."""
    now = datetime.now(UTC)
    nodes = StoredNodes(store, lambda: now)
    works, count = StoredNodes._work_out, list[datetime]()

    def counted(self: StoredNodes, reading: Reading, at: datetime) -> None:
        count.append(at)
        works(self, reading, at)

    monkeypatch.setattr(StoredNodes, "_work_out", counted)
    first = nodes.nodes(FEDERATED)
    assert all(nodes.nodes(FEDERATED) is first for _ in range(1000))
    assert len(count) == 1
    add_site(store, KEY, SiteId("200000"), SigningKey.generate(), state=State.SUSPENDED)
    assert set(nodes.nodes(FEDERATED)) == set(first) - {SiteId("200000")}
    assert len(count) == 2
    now += timedelta(days=31)
    assert not nodes.nodes(FEDERATED)
    assert len(count) == 3


@pytest.mark.usefixtures("sites")
def test_a_cohort_that_the_protocol_has_not_is_not_queued(service: FederationService) -> None:
    """Whoever asks hears of it at once, with the name of the one that there is."""
    request = canonical_json({"purpose": "statistics", "statistics": {"cohort": "other"}})
    with pytest.raises(PlanInvalid, match=f"`{load_protocol().cohort.name}`"):
        service.start_run(request, actor="coordinator/operator")
    assert service.runs() == ([], False)


@pytest.mark.usefixtures("sites")
@pytest.mark.parametrize("label", ["covid", "age", "sex", "comment", "mrn"])
def test_a_label_that_no_site_can_have_is_not_queued(service: FederationService, label: str) -> None:
    """Unknown, or no yes/no field: refused with the names of those that are, before a site sees too few patients."""
    request = canonical_json({"purpose": "training", "training": {"label": label}})
    with pytest.raises(PlanInvalid, match=f"`{label}` is not a yes/no field.*pneumonia, symptoms, icu, ventilation"):
        service.start_run(request, actor="coordinator/operator")
    assert service.runs() == ([], False)


@pytest.mark.usefixtures("sites")
def test_a_run_whose_caller_gave_up_is_not_queued(store: SqlStore, service: FederationService) -> None:
    """Nobody would learn of it: neither a run nor an event is left."""
    with pytest.raises(RunFailed):
        service.start_run(TRAINING, actor="coordinator/operator", wanted=lambda: False)
    with store.read() as reading:
        assert not reading.runs()
        assert not [event for event in reading.events() if event.action.startswith("run")]


def test_a_run_that_was_cut_off_is_taken_up_again(
    store: SqlStore, identity: Identity, service: FederationService, sites: dict[int, FederateSettings], tmp_path: Path
) -> None:
    """The federation stops in the middle: at the next start training is pending again, statistics have failed."""
    stop = threading.Event()
    stop.set()
    for request in (TRAINING, STATISTICS):
        service.start_run(request, actor="coordinator/operator")
        worker = worker_for(store, identity, sites, tmp_path, stop)
        (pending,) = worker.next_pending({})
        worker.execute(pending)
        assert service.run(pending.id).state == "running"
    worker_for(store, identity, sites, tmp_path, threading.Event()).recover_interrupted()
    assert [run.state for run in service.runs()[0]] == ["pending", "failed"]


def test_only_sites_under_an_executed_agreement_with_the_mode_take_part(
    store: SqlStore, service: FederationService, sites: dict[int, FederateSettings]
) -> None:
    """Suspension and modes are read at every call, for the node and for the roster."""
    nodes, site, key = StoredNodes(store), sites[10].site_id, SigningKey.generate()
    assert set(nodes.nodes((Mode.TRAINING,))) == {member.site_id for member in sites.values()}
    add_site(store, KEY, site, key, modes=(Mode.COHORT,))
    assert site not in nodes.nodes((Mode.TRAINING,))
    assert site in nodes.nodes(FEDERATED)
    request = json.loads(TRAINING) | {"sites": [site]}
    with pytest.raises(AgreementModeNotAllowed):
        service.start_run(canonical_json(request), actor="coordinator/operator")
    add_site(store, KEY, site, key, state=State.SUSPENDED)
    assert site not in nodes.nodes(FEDERATED)


def test_a_revoked_or_expired_site_takes_no_part(
    store: SqlStore, identity: Identity, sites: dict[int, FederateSettings]
) -> None:
    """Neither as a node nor in a roster; once admitted again, it registers a new node key."""
    nodes, later = StoredNodes(store), StoredNodes(store, lambda: datetime.now(UTC) + timedelta(days=31))
    site = sites[10].site_id
    assert site in nodes.nodes(FEDERATED)
    assert not later.nodes(FEDERATED)
    assert not later.members(FEDERATED)
    MemberService(store, identity).revoke(Role.SITE, site, actor="coordinator/operator")
    assert site not in nodes.nodes(FEDERATED)
    assert site not in nodes.members(FEDERATED)
    add_site(store, KEY, site, SigningKey.generate())
    assert site not in nodes.nodes(FEDERATED)
    assert site in nodes.members(FEDERATED)


def test_a_node_is_registered_only_under_its_own_agreement_protocol_and_key(
    store: SqlStore, service: FederationService, sites: dict[int, FederateSettings]
) -> None:
    """No agreement, another protocol, another curve, no key, another site's key: refused."""
    site = sites[10].site_id
    add_site(store, KEY, SiteId("555555"), SigningKey.generate(), state=State.SUSPENDED)
    add_site(store, KEY, SiteId("666666"), SigningKey.generate(), modes=(Mode.SUBMIT,))
    registered = StoredNodes(store).nodes(FEDERATED)[sites[11].site_id].public_key
    refused: list[tuple[type[Exception], SiteId, bytes, str]] = [
        (ProtocolMismatch, site, new_key(), "0" * 64),
        (AgreementNotExecuted, SiteId("555555"), new_key(), DIGEST),
        (AgreementModeNotAllowed, SiteId("666666"), new_key(), DIGEST),
        (NotFound, SiteId("444444"), new_key(), DIGEST),
        (InvalidArgument, site, new_key(ec.SECP256R1()), DIGEST),
        (InvalidArgument, site, b"no key", DIGEST),
        (InvalidArgument, site, registered, DIGEST),
    ]
    for error, name, key, digest in refused:
        with pytest.raises(error):
            service.register_node(name, key, protocol_digest=digest)
