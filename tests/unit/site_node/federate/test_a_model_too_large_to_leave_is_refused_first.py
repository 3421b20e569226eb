"""A model that may not leave a site is refused at the first message of its run, with the limit's name."""

from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.crypto.signing import SigningKey
from shared.errors.federation import RunRefused
from shared.federation.averaging import SUBJECT, inputs_of
from shared.federation.models.registry import build_model, get_state, state_length
from shared.federation.plan import Member, Plan, PlanRequest, complete_plan
from shared.federation.secure_sum.messages import Peer, SumPlan
from shared.federation.secure_sum.vectors import Masked, pack_masked
from shared.federation.task import TrainingTask
from shared.ids import Sha256, SiteId
from site_node.federate.client_app import check_answer, train_round
from site_node.federate.dataset import Split
from site_node.federate.local_layers import LocalLayers
from site_node.federate.masked import Best, Evaluated, MaskedPart, Update
from site_node.federate.policy import SitePolicy
from site_node.federate.site import CONTEXT_KEY, Admitted
from site_node.federate.training import Samples
from tests.factories.site_homes import make_site

KEYS = [SigningKey.generate() for _ in range(70)]
TASK = TrainingTask(image_size=32)


@pytest.fixture(autouse=True, scope="module")
def in_a_task() -> None:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1


def never() -> Split:
    raise AssertionError("no image is read")


def counted() -> Split:
    nothing = Samples(np.zeros((0, 32, 32), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64))
    return Split(nothing, nothing, nothing, 1)


def layers(plan: Plan) -> LocalLayers:
    return LocalLayers(Path("none"), plan, TASK)


def plans(sites: int, kind: type[MaskedPart]) -> tuple[Plan, SumPlan]:
    """A run's plan, and that of a sum in it."""
    keys = {SiteId(f"{200000 + n}"): key for n, key in enumerate(KEYS[:sites])}
    members = tuple(Member(site_id=site, fingerprint=key.fingerprint) for site, key in keys.items())
    request = PlanRequest(purpose="training", training=TASK)
    plan = complete_plan(request, members=members, protocol_digest=Sha256("0" * 64))
    session = SumPlan(
        session="0" * 32,
        subject=SUBJECT,
        protocol_digest=plan.protocol_digest,
        length=kind(plan, TASK, SitePolicy(), never, None, 1, layers(plan)).length(),
        roster=tuple(Peer(site_id=site, verify_key=str(key.public)) for site, key in keys.items()),
        threshold=sites,
        inputs=inputs_of(plan.run, kind.kind, np.zeros(1, np.float32)),
    )
    return plan, session


@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from([Update, Evaluated, Best]),
    sites=st.sampled_from([3, 63, 64, 70]),
    accused=st.booleans(),
    left_over=st.integers(-2000, 2000),
)
def test_what_is_approved_may_leave(kind: type[MaskedPart], sites: int, accused: bool, left_over: int) -> None:
    """Where a sum is approved, its answer fits; where not, no image was read and the limit stands in the reason."""
    plan, session = plans(sites, kind)
    policy = SitePolicy(max_answer_bytes=8 * session.length + left_over, minimum_patients=1)
    masked = Masked(np.zeros(session.length, np.uint64), session.sites[1:] if accused else ())
    payload = pack_masked(session, masked)
    words = ArrayRecord({"state": Array("uint8", (len(payload),), "bytes", payload)})
    asked = Message(RecordDict({"config": ConfigRecord()}), dst_node_id=2, message_type=kind.kind)
    part = kind(plan, TASK, policy, counted, None, 1, layers(plan))
    if left_over >= 512:
        part.approve(session)
        check_answer(Message(RecordDict({"arrays": words}), reply_to=asked), plan, policy)
        return
    part.split = never
    with pytest.raises(RunRefused, match=f"`max_answer_bytes` is {policy.max_answer_bytes}"):
        part.approve(session)


def test_without_masks_nothing_is_trained_for_nobody(tmp_path: Path) -> None:
    """The state is measured before an image is read."""
    site = make_site(tmp_path / "site", "200000", KEYS[0], images=0)
    plan = plans(3, Update)[0]
    assert plan.training is not None
    bare = plan.model_copy(update={"training": plan.training.model_copy(update={"masked": False})})
    policy = SitePolicy(max_answer_bytes=4 * state_length(TASK) - 1)
    arrays = ArrayRecord({"state": Array(get_state(build_model(TASK)))})
    asked = Message(RecordDict({"arrays": arrays}), dst_node_id=2, message_type="train")
    admitted = Admitted(site=site, policy=policy, studies={}, plan=bare)
    with pytest.raises(RunRefused, match="max_answer_bytes"):
        train_round(asked, Context(1, 2, {CONTEXT_KEY: admitted}, RecordDict(), {}))


@pytest.mark.parametrize("size", [32, 64, 256])
def test_a_models_length_is_that_of_its_state(size: int) -> None:
    """Known without a model being made."""
    task = TrainingTask(image_size=size)
    assert state_length(task) == get_state(build_model(task)).size
