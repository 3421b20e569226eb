"""No message of a masked round tells a count of one site: what is seen fits any other data that gives the same sum.

The attack is the real one: a model whose head is zero but for its bias, one step of SGD over all images at once. From a
site's own weights it gives the numbers of its negative and positive images exactly; from masked ones it gives nothing.
"""

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import exp
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.crypto.signing import SigningKey
from shared.errors.federation import RunRefused, TooFewSites
from shared.federation.averaging import SUBJECT, averaged, inputs_of
from shared.federation.models.registry import build_model, get_state, set_state
from shared.federation.plan import Member, Plan, PlanRequest, complete_plan
from shared.federation.records import Vector
from shared.federation.secure_sum import masks, vectors
from shared.federation.secure_sum.messages import SumPlan
from shared.federation.secure_sum.server import Sum, sum_without_liars
from shared.federation.secure_sum.vectors import Words, unpack_masked
from shared.federation.task import TrainingTask
from shared.ids import Sha256, SiteId
from site_node.federate.dataset import Split
from site_node.federate.local_layers import LocalLayers
from site_node.federate.masked import Best, Evaluated, MaskedPart, Update
from site_node.federate.policy import SitePolicy
from site_node.federate.training import Samples, train
from tests.factories.summing import Federation, sites

BIAS, RATE = 1.0, 0.5
TASK = TrainingTask(
    image_size=32, optimizer="sgd", learning_rate=RATE, local_epochs=1, batch_size=1024, rounds=1, site_metrics=False
)
Cases = tuple[int, int]  # numbers of negative and positive images


def attacking_model() -> Vector:
    model = build_model(TASK)
    state = model.state_dict()
    state.update({"head.weight": torch.zeros_like(state["head.weight"]), "head.bias": torch.tensor([BIAS])})
    model.load_state_dict(state)
    return get_state(model)


START = attacking_model()


def attacked(state: Vector, images: int) -> tuple[int, int]:
    """The counts that the attack reads off: positive images are weighted so that both classes weigh alike."""
    model = build_model(TASK)
    set_state(model, state)
    gradient = (BIAS - float(model.state_dict()["head.bias"])) / RATE
    negative = round(images * gradient / (2 / (1 + exp(-BIAS)) - 1))
    return negative, images - negative


def data(cases: Cases) -> Split:
    """Images of one site; the site is told by its counts, so that a swap of counts is a swap of data."""
    labels = np.array([0] * cases[0] + [1] * cases[1], dtype=np.int64)
    images = np.random.default_rng(cases).normal(size=(len(labels), 32, 32)).astype(np.float32)
    samples = Samples(images, labels, np.arange(len(labels)))
    return Split(training=samples, validation=samples, test=samples, patients=sum(cases))


class Round(Federation):
    """Sites that answer the stages of one masked round."""

    def __init__(self, kind: type[MaskedPart], cases: Mapping[SiteId, Cases], keys: Federation | None = None) -> None:
        super().__init__({site: np.zeros(1, dtype=np.uint64) for site in cases})
        if keys is not None:
            self.coordinator, self.keys = keys.coordinator, keys.keys
        self.kind, self.cases = kind, dict(cases)
        self.start: Mapping[SiteId, Vector] = dict.fromkeys(cases, START)

    def run_plan(self) -> Plan:
        """The plan of the run."""
        members = tuple(Member(site_id=site, fingerprint=self.keys[site].fingerprint) for site in self.cases)
        request = PlanRequest(purpose="training", training=TASK)
        return complete_plan(request, members=members, protocol_digest=Sha256("0" * 64))

    def sum_plan(self, plan: Plan) -> SumPlan:
        """The plan of the round's sum."""
        part = self.part(plan, sites(1)[0], None)
        changes = {"subject": SUBJECT, "length": part.length(), "inputs": inputs_of(plan.run, self.kind.kind, START)}
        return self.plan().plan.model_copy(update=changes)

    def part(self, plan: Plan, site: SiteId, start: Vector | None) -> MaskedPart:
        """A site's contribution."""
        layers = LocalLayers(Path("none"), plan, TASK)  # without FedBN it keeps nothing
        return self.kind(plan, TASK, SitePolicy(minimum_patients=1), lambda: data(self.cases[site]), start, 1, layers)

    def run(self, plan: Plan, session: SumPlan) -> Sum:
        """The round."""
        self.current = plan
        return sum_without_liars(session, self.coordinator, self)

    def ask(self, stage: str, site: SiteId, payload: bytes) -> bytes:
        """One site's answer; the model comes with the stage `mask`."""
        part = self.part(self.current, site, self.start[site] if stage == "mask" else None)
        return self.client(site).answer(stage, payload, part)


@contextmanager
def same_secrets(shift: tuple[Mapping[bytes, int], Words] = ({}, np.zeros(1, np.uint64))) -> Iterator[None]:
    """Draw the same secrets in every world; `shift` moves the pair mask of given keys by some words."""
    drawn, signs, plain = itertools.count(), shift[0], vectors.add_mask

    def secret() -> bytes:
        return hashlib.sha256(b"secret %d" % next(drawn)).digest()

    def moved(words: Words, key: bytes, *, subtract: bool = False) -> None:
        plain(words, key, subtract=subtract)
        if key in signs:
            words[:] = words - shift[1] if subtract else words + shift[1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks, "new_secret", secret)
        patch.setattr("shared.federation.secure_sum.shamir.secrets.randbelow", lambda _: int.from_bytes(secret()))
        patch.setattr(vectors, "add_mask", moved)
        yield


def pair_key(first: bytes, second: bytes, session: str, pair: tuple[SiteId, SiteId]) -> bytes:
    return masks.pair_key(first, masks.public_of(second), session, pair)


COUNTS = st.tuples(st.integers(1, 9), st.integers(1, 9))


@pytest.mark.parametrize("kind", [Update, Evaluated, Best])
@given(others=st.lists(COUNTS, min_size=1, max_size=3), first=COUNTS, second=COUNTS)
@settings(max_examples=5, deadline=None)
def test_the_view_fits_other_counts_as_well(
    kind: type[MaskedPart], others: list[Cases], first: Cases, second: Cases
) -> None:
    """Whichever two sites exchange their data, the centre's whole view is the same, bit for bit, under another mask.

    The two share that mask by X25519; nobody else knows it, and it is as likely as the one that they drew.
    """
    names = sites(2 + len(others))
    world = Round(kind, dict(zip(names, [first, second, *others], strict=True)))
    plan = world.run_plan()
    session = world.sum_plan(plan)
    secrets_of: dict[SiteId, bytes] = {}
    with same_secrets():
        total = world.run(plan, session)
    with same_secrets():  # the mask keys that the sites drew: the second secret of each, in their order
        drawn = [masks.new_secret() for _ in range(3 * len(names))]
        secrets_of.update({name: drawn[3 * number + 1] for number, name in enumerate(names)})
    pair = (names[0], names[1])
    key = pair_key(secrets_of[pair[0]], secrets_of[pair[1]], session.session, pair)
    vectors = [world.part(plan, site, START).vector(session) for site in pair]
    exchanged = Round(kind, {**world.cases, pair[0]: second, pair[1]: first}, world)
    with same_secrets(({key: 1}, vectors[0] - vectors[1])):
        again = exchanged.run(plan, session)
    assert (total.total == again.total).all()
    assert world.answers == exchanged.answers
    assert world.requests == exchanged.requests


@given(cases=st.lists(COUNTS, min_size=3, max_size=4))
@settings(max_examples=5, deadline=None)
def test_the_attack_reads_counts_off_weights_and_nothing_off_words(cases: list[Cases]) -> None:
    """Unmasked, the attack is exact; a masked vector gives it no number; the sum gives it that of all sites at most."""
    world = Round(Update, dict(zip(sites(len(cases)), cases, strict=True)))
    plan = world.run_plan()
    session = world.sum_plan(plan)
    total = world.run(plan, session)
    for site, own in world.cases.items():
        model = build_model(TASK)
        set_state(model, START)
        train(model, data(own).training, TASK, server_round=1)
        assert attacked(get_state(model), sum(own)) == own
        masked = unpack_masked(world.answers["mask", site], session).words
        assert not 0 <= int(masked[0]) <= 2**40  # not even the number of images
    pooled = averaged(total.total, sites=len(cases), most_images=TASK.maximum_images)
    assert pooled.images == sum(map(sum, cases))
    assert attacked(pooled.values[:-1].astype(np.float32), pooled.images)[0] == sum(negative for negative, _ in cases)


@pytest.mark.parametrize("kind", [Update, Evaluated, Best])
def test_only_words_under_masks_depend_on_data(kind: type[MaskedPart]) -> None:
    """With the same secrets and other data, every message but the masked vectors is the same."""
    answers = []
    first = Round(kind, dict.fromkeys(sites(3), (3, 4)))
    plan = first.run_plan()
    session = first.sum_plan(plan)
    for cases in ((3, 4), (5, 1)):
        world = Round(kind, dict.fromkeys(sites(3), cases), first)
        with same_secrets():
            world.run(plan, session)
        answers.append(world.answers)
    for (stage, site), payload in answers[0].items():
        assert (answers[1][stage, site] == payload) == (stage != "mask"), stage


def test_a_model_that_others_were_not_given_is_refused() -> None:
    """A centre that sends one site another model, so that the others' updates are known, gets no word of it."""
    world = Round(Update, dict.fromkeys(sites(4), (3, 4)))
    victim = sites(4)[1]
    world.start = {**world.start, victim: START * np.float32(0.5)}
    plan = world.run_plan()
    result = world.run(plan, world.sum_plan(plan))
    assert isinstance(world.refusals["mask", victim], RunRefused)
    assert victim not in result.survivors


def test_equal_plans_over_one_site_fewer_are_refused() -> None:
    """Runs may be repeated over the same sites as often as one likes; over one fewer, the difference would show it."""
    world = Round(Update, dict.fromkeys(sites(5), (3, 4)))
    for _ in range(3):
        plan = world.run_plan()
        world.run(plan, world.sum_plan(plan))
    world.lost = [("advertise", sites(5)[4])]
    plan = world.run_plan()
    with pytest.raises(TooFewSites):
        world.run(plan, world.sum_plan(plan))
    assert {stage for stage, _ in world.refusals} == {"consistency"}


@pytest.mark.parametrize(
    "change",
    [{"subject": "another"}, {"length": 9}, {"inputs": "R-000000000000 train 00"}, {"protocol_digest": "1" * 64}],
)
def test_a_sum_of_something_else_is_refused(change: dict[str, object]) -> None:
    """Another subject, length, run or protocol: no site shows even its round keys."""
    world = Round(Update, dict.fromkeys(sites(3), (3, 4)))
    plan = world.run_plan()
    with pytest.raises(TooFewSites):
        world.run(plan, world.sum_plan(plan).model_copy(update=change))
    assert {stage for stage, _ in world.answers} == set()


def test_a_sum_over_other_sites_than_the_run_is_refused() -> None:
    """Neither fewer sites, nor one under another key than the run's plan names."""
    world = Round(Update, dict.fromkeys(sites(4), (3, 4)))
    plan = world.run_plan()
    with pytest.raises(TooFewSites):
        world.run(plan, world.sum_plan(plan).model_copy(update={"roster": world.plan(sites(3)).plan.roster}))
    other = Round(Update, dict.fromkeys(sites(4), (3, 4)))
    other.keys = {**world.keys, sites(4)[3]: SigningKey.generate()}
    foreign = other.sum_plan(plan).roster
    with pytest.raises(TooFewSites):
        world.run(plan, world.sum_plan(plan).model_copy(update={"roster": foreign}))
    assert not world.answers
