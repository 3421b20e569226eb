"""What a message gets to see and what an answer may hold, whoever executes the app."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from shared.agreement import Mode
from shared.crypto.signing import SigningKey
from shared.errors.federation import RunRefused
from shared.errors.inputs import InvalidIdentifier
from shared.federation.models.registry import build_model, get_state
from shared.federation.plan import Plan, PlanRequest, complete_plan, sign_plan, verify_plan
from shared.federation.task import TrainingTask
from site_node.federate import client_app, executor
from site_node.federate.client_app import app, check_answer, policy_gate
from site_node.federate.dataset import load_split
from site_node.federate.policy import SitePolicy, load_policy
from site_node.federate.site import CONTEXT_KEY, FederateSettings
from site_node.home.library import load_library
from tests.factories.local_fleet import FakeFleet
from tests.factories.site_homes import PROTOCOL, known_of, make_site, member_of, set_policy

KEY = SigningKey.generate()
TASK = TrainingTask(image_size=32, masked=False)


@pytest.fixture
def sites(tmp_path: Path) -> list[FederateSettings]:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    made = [make_site(tmp_path / str(n), f"{200000 + n}", KEY, images=8 if n == 0 else 0) for n in range(3)]
    set_policy(made[0], unmasked=True, minimum_patients=8)
    return made


def plan_for(sites: list[FederateSettings]) -> Plan:
    members = tuple(member_of(site) for site in sites)
    return complete_plan(PlanRequest(purpose="training", training=TASK), members=members, protocol_digest=PROTOCOL)


def make_message(plan: str | None, kind: str = "train", server_round: int = 1) -> Message:
    config = {"server-round": server_round} | ({"plan": plan} if plan else {})
    arrays = ArrayRecord({"state": Array(get_state(build_model(TASK)))})
    return Message(RecordDict({"arrays": arrays, "config": ConfigRecord(config)}), dst_node_id=2, message_type=kind)


def context_of(site: FederateSettings) -> Context:
    return Context(1, 2, {CONTEXT_KEY: known_of(site)}, RecordDict(), {})


def test_a_message_under_a_good_plan_is_answered(sites: list[FederateSettings]) -> None:
    """A training answer holds the state and the numbers that Flower averages by, and nothing else."""
    reply = app(make_message(sign_plan(plan_for(sites), KEY)), context_of(sites[0]))
    assert not reply.has_error()
    assert set(reply.content) == {"arrays", "metrics"}
    assert set(reply.content["metrics"]) == {"num-examples", "loss", "reported"}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (lambda plan: make_message(None), "carries no plan"),
        (lambda plan: make_message(sign_plan(plan, SigningKey.generate())), "signature on the plan"),
        (lambda plan: make_message("{}"), "signature on the plan"),
        (lambda plan: make_message(sign_plan(plan, KEY), kind="query"), "query"),
        (lambda plan: make_message(sign_plan(plan, KEY), server_round=99), "round"),
    ],
)
def test_any_other_message_is_refused_visibly(
    sites: list[FederateSettings], message: Callable[[Plan], Message], reason: str
) -> None:
    """No plan, another's plan, another kind, another round: `SITE_POLICY` and why."""
    reply = app(message(plan_for(sites)), context_of(sites[0]))
    assert reply.has_error()
    assert reply.error.reason.startswith("SITE_POLICY: ")
    assert reason in reply.error.reason


def test_the_text_of_a_foreign_exception_does_not_leave(sites: list[FederateSettings]) -> None:
    """It might quote a value; the answer names the exception's class only."""

    def fails(message: Message, context: Context) -> Message:
        raise ValueError("SECRET^PATIENT")

    reply = policy_gate(make_message(sign_plan(plan_for(sites), KEY)), context_of(sites[0]), fails)
    assert reply.error.reason == "SITE_FAILED: ValueError"


@pytest.mark.parametrize(
    "content",
    [
        {"arrays": ArrayRecord({"state": Array(get_state(build_model(TASK)))}), "config": ConfigRecord({"x": 1})},
        {"arrays": ArrayRecord({"images": Array(get_state(build_model(TASK)))})},
        {"metrics": MetricRecord({"num-examples": 1, "patient": 2})},
    ],
)
def test_an_answer_with_anything_more_does_not_leave(sites: list[FederateSettings], content: dict[str, object]) -> None:
    """Another record, another array, another number: refused as a whole."""
    plan = plan_for(sites)
    message = make_message(sign_plan(plan, KEY))
    with pytest.raises(RunRefused):
        check_answer(Message(RecordDict(content), reply_to=message), plan, SitePolicy())


def test_an_answer_larger_than_the_policy_does_not_leave(sites: list[FederateSettings]) -> None:
    """The limit is on the bytes of all records."""
    set_policy(sites[0], max_answer_bytes=1000)
    reply = app(make_message(sign_plan(plan_for(sites), KEY)), context_of(sites[0]))
    assert "more than may leave" in reply.error.reason


def test_a_withdrawn_study_is_gone_from_memory_too(sites: list[FederateSettings]) -> None:
    """The decoded images are read again as soon as the library holds other studies."""
    before = load_split(sites[0].library, load_library(sites[0].library), TASK)
    study = next(folder for folder in sites[0].library.iterdir())
    for file in sorted(study.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    study.rmdir()
    after = load_split(sites[0].library, load_library(sites[0].library), TASK)
    assert sum(sum(part.cases) for part in after[:3]) == 7
    assert sum(sum(part.cases) for part in before[:3]) == 8


def test_the_same_round_is_answered_twice_and_no_more(sites: list[FederateSettings]) -> None:
    """One retry per run, kind and round, also after a restart; other rounds, kinds and runs are free."""
    text = sign_plan(plan_for(sites), KEY)
    asked = [app(make_message(text), context_of(sites[0])) for _ in range(4)]
    assert [reply.has_error() for reply in asked] == [False, False, True, True]
    assert asked[2].error.reason == "SITE_POLICY: train of round 1 was answered and retried before"
    for message in (make_message(text, server_round=2), make_message(text, kind="evaluate")):
        assert not app(message, context_of(sites[0])).has_error()
    assert not app(make_message(sign_plan(plan_for(sites), KEY)), context_of(sites[0])).has_error()


def test_work_that_the_signed_agreement_does_not_cover_is_refused(sites: list[FederateSettings]) -> None:
    """Whatever plan the coordinator signs: another mode, or after the agreement's end."""
    text = sign_plan(plan_for(sites), KEY)
    changes: list[tuple[dict[str, object], str]] = [
        ({"modes": (Mode.COHORT,)}, "does not cover"),
        ({"agreement_expires_at": datetime.now(UTC)}, "has expired"),
    ]
    for change, reason in changes:
        reply = app(make_message(text), context_of(sites[0].model_copy(update=change)))
        assert reason in reply.error.reason


def test_a_foreign_bundle_is_refused_before_its_message_is_fetched(sites: list[FederateSettings]) -> None:
    """The digest comes first: even a message under a good plan gets `SITE_POLICY`, and nothing of it arrives."""
    fleet = FakeFleet(make_message(sign_plan(plan_for(sites), KEY)), digest="f" * 64)
    assert fleet.answered(sites[0]) == "SITE_POLICY: this bundle's digest is not on the site's list"
    assert not fleet.fetched


def test_a_policy_that_cannot_be_read_refuses_and_says_so(sites: list[FederateSettings]) -> None:
    """Not what is wrong in it, nor where it lies: that is said at the site."""
    sites[0].policy.write_text("minimum_patients = 0\n")
    fleet = FakeFleet(make_message(sign_plan(plan_for(sites), KEY)))
    assert fleet.answered(sites[0]) == "SITE_POLICY: the site's policy cannot be read"
    assert not fleet.fetched


@pytest.mark.parametrize("kind", ["train.another", "query.another", "system", "\n", "reconnect"])
def test_a_kind_of_message_that_nobody_knows_is_refused_by_name(sites: list[FederateSettings], kind: str) -> None:
    """It ends neither the site's federated work nor anything else, and its content is not fetched."""
    fleet = FakeFleet(make_message(sign_plan(plan_for(sites), KEY)), kind=kind)
    assert fleet.answered(sites[0]) == "SITE_POLICY: there is no such kind of message"
    assert not fleet.fetched


def test_objects_of_another_kind_are_refused_before_they_are_unpacked(sites: list[FederateSettings]) -> None:
    """A question holds no array, and no message to a site holds metrics."""
    arrays, metrics = ArrayRecord({"state": Array(get_state(build_model(TASK)))}), MetricRecord({"x": 1})
    for kind, record in (("query", arrays), ("train", metrics), ("evaluate", metrics)):
        fleet = FakeFleet(Message(RecordDict({"record": record}), dst_node_id=2, message_type=kind))
        assert fleet.answered(sites[0]) == f"SITE_POLICY: a {kind} message holds an object that it may not"
        assert not fleet.worker.asked


def test_what_is_no_message_is_refused(sites: list[FederateSettings]) -> None:
    """Objects that are cut, missing, or make up something else."""
    cut = FakeFleet(make_message(sign_plan(plan_for(sites), KEY)))
    cut.objects = {name: content[:-1] for name, content in cut.objects.items()}
    missing = FakeFleet(make_message(sign_plan(plan_for(sites), KEY)))
    missing.objects.pop(next(iter(missing.objects)))
    garbage = FakeFleet(make_message(sign_plan(plan_for(sites), KEY)))
    garbage.objects = dict.fromkeys(garbage.objects, b"garbage")
    assert {each.answered(sites[0]) for each in (cut, missing, garbage)} == {"SITE_POLICY: the message cannot be read"}


def test_nothing_is_fetched_while_the_audit_log_is_contradicted(sites: list[FederateSettings]) -> None:
    """Whatever bundle and plan; once a person has resumed, the same message is answered."""
    site = sites[0]
    site.contradiction.parent.mkdir(exist_ok=True)
    site.contradiction.write_bytes(b"{}")
    fleet = FakeFleet(make_message(sign_plan(plan_for(sites), KEY)))
    reason = "SITE_POLICY: the coordinator's audit log contradicts what the coordinator signed before"
    assert (fleet.answered(site), fleet.fetched) == (reason, False)
    site.contradiction.unlink()
    assert FakeFleet(make_message(sign_plan(plan_for(sites), KEY))).answered(site) is None


def test_a_message_that_no_policy_has_seen_is_not_answered(sites: list[FederateSettings]) -> None:
    """Neither without the policy in its context, nor by a handler that is called past the gate."""
    message = make_message(sign_plan(plan_for(sites), KEY))
    reply = app(message, Context(1, 2, {}, RecordDict(), {}))
    assert reply.error.reason.startswith("SITE_POLICY: ")
    with pytest.raises(InvalidIdentifier):
        client_app.train_round(message, context_of(sites[0]))


@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_policy_and_plan_are_read_once_a_message(
    sites: list[FederateSettings], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole message is judged by one reading of each: a file changed in between cannot make two halves."""
    reads: list[str] = []

    def counted(what: str, read: Callable[..., object]) -> Callable[..., object]:
        def reading(*arguments: object) -> object:
            reads.append(what)
            return read(*arguments)

        return reading

    monkeypatch.setattr(executor, "load_policy", counted("policy", load_policy))
    monkeypatch.setattr(client_app, "verify_plan", counted("plan", verify_plan))
    assert FakeFleet(make_message(sign_plan(plan_for(sites), KEY), kind=kind)).answered(sites[0]) is None
    assert reads == ["policy", "plan"]
