"""Differentially private training: what it costs is kept across runs, and where the budget is spent it is refused."""

from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.federation.checkpoints import load_checkpoint
from coordinator.federation.grid import RosterGrid
from coordinator.federation.training import run_training
from shared.crypto.signing import SigningKey
from shared.errors.federation import PlanInvalid, RunRefused
from shared.federation import records
from shared.federation.models.registry import build_model, get_state
from shared.federation.plan import Plan, PlanRequest, complete_plan, sign_plan
from shared.federation.privacy import Charge, charge_of, epsilon_of
from shared.federation.task import Privacy, TrainingTask
from site_node.federate.book import enter
from site_node.federate.dataset import Split
from site_node.federate.packing import Packed
from site_node.federate.plan_words import words_of
from site_node.federate.policy import load_policy
from site_node.federate.site import FederateSettings
from site_node.federate.tasks import Asked, Result
from site_node.federate.training import Samples, train
from site_node.home.ledger import Ledger
from site_node.home.plans import Decisions
from tests.factories.local_fleet import FakeFleet
from tests.factories.local_grid import LocalGrid
from tests.factories.site_homes import PROTOCOL, make_site, member_of, set_policy, signer_for

KEY = SigningKey.generate()
PRIVACY = Privacy(noise_multiplier=2.0, batches=4)
TASK = TrainingTask(image_size=32, rounds=2, local_epochs=1, masked=False, privacy=PRIVACY, test_share=0.0)
WITH_OPACUS = pytest.mark.skipif(find_spec("opacus") is None, reason="Opacus is not installed (extra `privacy`)")
CHARGES = st.builds(
    Charge,
    noise_multiplier=st.sampled_from([0.5, 1.0, 4.0]),
    batches=st.sampled_from([1, 10]),
    steps=st.integers(1, 50),
)


def samples(patients: int, images: int = 1) -> Samples:
    count = patients * images
    pixels = np.random.default_rng(0).normal(size=(count, 32, 32)).astype(np.float32)
    return Samples(pixels, np.arange(count) % 2, np.repeat(np.arange(patients), images))


@WITH_OPACUS
@settings(max_examples=20, deadline=None)
@given(CHARGES, st.lists(CHARGES, max_size=3))
def test_epsilon_grows_with_each_step_and_is_of_all_together(more: Charge, before: list[Charge]) -> None:
    """However the same steps were charged; nothing spent is nothing."""
    assert epsilon_of([]) == 0
    once, twice = epsilon_of([*before, more]), epsilon_of([*before, more, more])
    assert epsilon_of(before) <= once <= twice
    assert twice == pytest.approx(epsilon_of([*before, more.model_copy(update={"steps": 2 * more.steps})]))


@WITH_OPACUS
@pytest.mark.parametrize("patients", [1, 3, 40])
def test_two_trainings_of_a_seed_differ_by_their_noise(patients: int) -> None:
    """Also where a batch draws nobody; no loss is told, and the model stays an ordinary one."""
    states = []
    for _ in range(2):
        model = build_model(TASK)
        assert train(model, samples(patients), TASK, server_round=1) == 0
        assert not any(module._forward_hooks for module in model.modules())
        states.append(get_state(model))
    assert np.isfinite(states).all()
    assert (states[0] != states[1]).any()


@WITH_OPACUS
def test_one_patient_moves_a_step_by_the_clip_norm_at_most() -> None:
    """Whatever the images: a step of SGD is no longer than the learning rate, the clip norm and the noise say."""
    privacy = Privacy(noise_multiplier=0.3, clip_norm=0.001, batches=1)
    task = TASK.model_copy(update={"privacy": privacy, "optimizer": "sgd", "learning_rate": 1.0})
    model = build_model(task)
    before = get_state(model)
    large = samples(4)
    train(model, large._replace(images=1e4 * large.images), task, server_round=1)
    noise = 0.3 * 0.001 * np.sqrt(len(before)) / 4
    assert np.linalg.norm(get_state(model) - before) < 0.001 + 2 * noise


def test_a_patient_has_one_image_in_a_private_training() -> None:
    """And all of them in any other."""
    many, none = samples(5, images=3), samples(0)
    split = Split(many, none, none, 5)
    assert split.learned(TASK).patients.tolist() == [0, 1, 2, 3, 4]
    assert split.learned(TASK.model_copy(update={"privacy": None})) is many


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "monai:DenseNet121"},
        {"norm": "batch"},
        {"strategy": "fedprox", "masked": True},
        {"baseline": True},
    ],
)
def test_what_has_no_privacy_is_refused_beside_it(changes: dict[str, object]) -> None:
    """Networks not tried with it, layers that mix patients, a term of no patient, a model of a site alone."""
    with pytest.raises(PlanInvalid):
        plan_of([], TASK.model_copy(update=changes))


def plan_of(sites: list[FederateSettings], task: TrainingTask = TASK) -> Plan:
    members = tuple(member_of(site) for site in sites)
    return complete_plan(PlanRequest(purpose="training", training=task), members=members, protocol_digest=PROTOCOL)


@pytest.fixture
def sites(tmp_path: Path) -> list[FederateSettings]:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    made = [make_site(tmp_path / str(n), f"{200000 + n}", KEY, images=24) for n in range(3)]
    for site in made:
        set_policy(site, unmasked=True, minimum_cases=1)
    return made


def ask(site: FederateSettings, plan: Plan, server_round: int = 1) -> str | None:
    """Ask for a round of training; returns why the site refused, or `None`."""
    arrays = ArrayRecord({"state": Array(get_state(build_model(TASK)))})
    config = ConfigRecord({"server-round": server_round, "plan": sign_plan(plan, KEY)})
    content = RecordDict({"arrays": arrays, "config": config})
    return FakeFleet(Message(content, dst_node_id=2, message_type="train")).answered(site)


def spent(site: FederateSettings) -> dict[str, int]:
    with closing(Ledger(site.ledger)) as ledger:
        return {each.run: each.charge.steps for each in ledger.plans.spent()}


@WITH_OPACUS
@pytest.mark.slow
def test_every_answer_is_charged_and_the_budget_holds_across_runs(sites: list[FederateSettings]) -> None:
    """A retry costs again; a further plan that does not fit is refused at once; another label is free."""
    site, first, second = sites[0], plan_of(sites), plan_of(sites)
    whole = charge_of(TASK, PRIVACY, rounds=TASK.rounds)
    set_policy(site, epsilon=epsilon_of([whole]) + 0.01)
    assert [ask(site, first, 1), ask(site, first, 2)] == [None, None]
    assert spent(site) == {first.run: 8}
    refused = [ask(site, first, 2), ask(site, second)]
    assert all(why is not None and "with it the epsilon of pneumonia would be" in why for why in refused)
    assert spent(site) == {first.run: 8}
    other = ask(site, plan_of(sites, TASK.model_copy(update={"label": "icu"})))
    assert other is not None
    assert "epsilon" not in other
    set_policy(site, epsilon=100.0)
    assert [ask(site, first, 2), ask(site, second)] == [None, None]
    assert spent(site) == {first.run: 12, second.run: 4}


def test_a_site_may_want_privacy_of_every_training(sites: list[FederateSettings]) -> None:
    """A plan without it is refused by name."""
    set_policy(sites[0], private=True)
    task = TASK.model_copy(update={"privacy": None})
    assert ask(sites[0], plan_of(sites, task)) == "SITE_POLICY: training without differential privacy is not allowed"


def test_what_was_judged_must_hold_when_it_is_charged(sites: list[FederateSettings]) -> None:
    """Of two that were worked on at once, the later is not answered: nothing leaves that was not counted before."""
    plan = plan_of(sites)
    result = Result(Packed(b"", b"", {}), None, Asked(sign_plan(plan, KEY), ""))
    policy = load_policy(sites[0].policy)
    enter(sites[0], policy, "train", result, Decisions())
    for seen in (Decisions(), None):
        with pytest.raises(RunRefused, match="answered meanwhile"):
            enter(sites[0], policy, "train", result, seen)
    assert spent(sites[0]) == {plan.run: 4}


def test_only_the_stage_that_brings_the_update_is_charged(sites: list[FederateSettings]) -> None:
    """Of a masked round; its evaluation is not."""
    plan = plan_of(sites, TASK.model_copy(update={"masked": True}))
    policy = load_policy(sites[0].policy)
    for kind, stage in (("train", "advertise"), ("evaluate", "mask"), ("train", "mask")):
        enter(
            sites[0], policy, kind, Result(Packed(b"", b"", {}), None, Asked(sign_plan(plan, KEY), stage)), Decisions()
        )
    assert spent(sites[0]) == {plan.run: 4}


@WITH_OPACUS
@pytest.mark.slow
@pytest.mark.parametrize("masked", [True, False])
def test_a_private_run_goes_from_round_to_round(sites: list[FederateSettings], tmp_path: Path, *, masked: bool) -> None:
    """No training loss is shown, and a person reads what has noise and what has not."""
    task = TASK.model_copy(update={"masked": masked})
    plan = plan_of(sites, task)
    by_node = dict(enumerate(sites, 10))
    nodes = {site.site_id: node for node, site in by_node.items()}
    signer = signer_for(KEY, sites)
    result = run_training(RosterGrid(LocalGrid(by_node), plan, sign_plan(plan, KEY), lambda: nodes, signer), tmp_path)
    assert [entry.training_loss for entry in result.rounds] == [None, None]
    assert all(entry.training_images > 0 for entry in result.rounds)
    assert np.isfinite(load_checkpoint(tmp_path, 2, task)).all()
    words = dict(words_of(plan))
    assert "noise of 2 times the clip norm 1" in words["Privacy"]


@pytest.mark.skipif(find_spec("opacus") is not None, reason="Opacus is installed")
def test_without_opacus_the_reason_names_the_extra(sites: list[FederateSettings]) -> None:
    """Nothing is trained without it."""
    why = ask(sites[0], plan_of(sites))
    assert why is not None
    assert "ricord-federation[privacy]" in why
    assert records.WAITS not in why
