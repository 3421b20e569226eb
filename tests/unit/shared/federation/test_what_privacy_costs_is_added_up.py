"""What a plan costs of a site's budget: of counts their epsilon, of a training its steps, and both together."""

import pytest

from shared.errors.federation import PlanInvalid
from shared.federation import privacy
from shared.federation.noise import scale_of, sensitivity_of
from shared.federation.plan import Member, Plan, PlanRequest, complete_plan
from shared.federation.privacy import DELTA, Charge, charge_of, cost_of, epsilon_of, library
from shared.federation.task import CountPrivacy, Privacy, StatisticsTask, TrainingTask
from shared.ids import Sha256, SiteId
from shared.protocol.loader import load_protocol

DIGEST = Sha256("0" * 64)
MEMBERS = tuple(Member(site_id=SiteId(str(100_001 + n)), fingerprint=f"SHA256:{n:043}") for n in range(3))
PRIVATE = TrainingTask(rounds=7, local_epochs=3, privacy=Privacy(noise_multiplier=2, batches=5))
NOISY = StatisticsTask(cohort="ricord", privacy=CountPrivacy(epsilon=0.5))


def plan(**asked: object) -> Plan:
    return complete_plan(PlanRequest.model_validate(asked), members=MEMBERS, protocol_digest=DIGEST)


def test_without_privacy_a_plan_costs_nothing() -> None:
    """A training or counts."""
    assert cost_of(plan(purpose="training", training=TrainingTask())) is None
    assert cost_of(plan(purpose="statistics", statistics=StatisticsTask(cohort="ricord"))) is None


def test_a_training_costs_its_steps_and_counts_their_epsilon() -> None:
    """Each answer those of its round; noisy counts are one answer, of a budget by the cohort's name."""
    trained, counted = (
        cost_of(plan(purpose="training", training=PRIVATE)), cost_of(plan(purpose="statistics", statistics=NOISY)),
    )  # fmt: skip
    assert trained is not None
    assert counted is not None
    assert (trained.label, trained.answer.steps, trained.whole.steps) == ("pneumonia", 3 * 5, 7 * 3 * 5)
    assert (trained.answer.noise_multiplier, trained.answer.batches, trained.answer.epsilon) == (2, 5, 0)
    assert (counted.answer.noise_multiplier, counted.answer.batches) == (0, 0)
    assert counted == ("cohort ricord", Charge(steps=1, epsilon=0.5), Charge(steps=1, epsilon=0.5))
    assert PRIVATE.privacy is not None
    assert charge_of(PRIVATE, PRIVATE.privacy) == trained.answer


def test_epsilons_of_counts_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each as often as it was spent; nothing spent is none, and no library is asked."""
    monkeypatch.setattr(privacy, "library", None)
    assert epsilon_of([]) == 0
    assert epsilon_of([Charge(steps=3, epsilon=0.5), Charge(steps=1, epsilon=0.25)]) == 1.75


def test_a_training_and_counts_cost_both() -> None:
    """The accountant's of the training's steps, at the delta of one in a million, and the counts' beside."""
    pytest.importorskip("opacus", reason="the accountant is of the extra `privacy`")
    steps = Charge(noise_multiplier=1, batches=10, steps=50)
    accountant = library("opacus.accountants").RDPAccountant()
    accountant.history = [(1, 0.1, 50)]
    alone = float(accountant.get_epsilon(DELTA))
    assert pytest.approx(1e-6) == DELTA
    assert epsilon_of([steps]) == pytest.approx(alone)
    assert epsilon_of([steps, Charge(steps=2, epsilon=0.5)]) == pytest.approx(alone + 1)
    assert epsilon_of([steps, steps]) > alone


def test_a_library_that_is_not_there_is_named() -> None:
    """With what installs it."""
    with pytest.raises(PlanInvalid, match=r"Opacus is not installed here: pip install 'ricord-federation\[privacy\]'"):
        library("opacus.unheard")


def test_noise_covers_every_count_that_a_patient_is_in() -> None:
    """The patients, a cell of each variable, one of each table; of less epsilon there is more."""
    cohort = load_protocol().cohort
    bare = cohort.having(cohort.variables[:3], ())
    assert (sensitivity_of(bare), sensitivity_of(cohort)) == (4, 1 + len(cohort.variables) + len(cohort.tables))
    assert scale_of(bare, CountPrivacy(epsilon=0.5)) == 8
