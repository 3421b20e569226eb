"""A site's own figures: each patient counts once in a class, with an interval, to two decimals, or not at all."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from shared.crypto.signing import SigningKey
from shared.federation.models.registry import build_model
from shared.federation.plan import Member, Plan, PlanRequest, complete_plan
from shared.federation.task import TrainingTask
from shared.ids import Sha256, SiteId
from site_node.federate.figures import Scores, bootstrap, own_figures, scores_of
from site_node.federate.policy import SitePolicy
from site_node.federate.training import Samples, auc, evaluate, train_alone

TASK = TrainingTask(image_size=32, minimum_cases=3)
MEMBERS = tuple(
    Member(site_id=SiteId(f"{200000 + n}"), fingerprint=SigningKey.generate().fingerprint) for n in range(3)
)


def plan_of(task: TrainingTask = TASK) -> Plan:
    request = PlanRequest(purpose="training", training=task)
    return complete_plan(request, members=MEMBERS, protocol_digest=Sha256("0" * 64))


class Brightness(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The mean of an image as its logit."""
        return images.mean(dim=(1, 2, 3))


def samples_of(labels: list[int], logits: list[float], patients: list[int]) -> Samples:
    images = np.stack([np.full((32, 32), logit, np.float32) for logit in logits])
    return Samples(images, np.array(labels), np.array(patients))


def scores(labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]) -> Scores:
    return Scores(labels, probabilities, np.arange(len(labels)))


def test_images_of_one_patient_are_one_case() -> None:
    """Their mean probability; with two labels a patient is a case of each."""
    samples = samples_of([1, 1, 0, 0], [2.0, 0.0, -1.0, 1.0], [7, 7, 3, 7])
    scored = scores_of(Brightness(), samples, TASK)
    sigmoid = 1 / (1 + np.exp(-np.array([2.0, 0.0, -1.0, 1.0])))
    assert scored.patients.tolist() == [3, 7, 7]
    assert scored.labels.tolist() == [0, 0, 1]
    assert scored.probabilities == pytest.approx([sigmoid[2], sigmoid[3], sigmoid[:2].mean()])
    assert scored.loss == pytest.approx(-np.log([1 - sigmoid[2], 1 - sigmoid[3], sigmoid[:2].mean()]).mean())


def test_no_image_is_no_case() -> None:
    """Loss and counts are 0."""
    empty = Samples(np.zeros((0, 32, 32), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64))
    scored = scores_of(Brightness(), empty, TASK)
    assert scored.loss == scored.counts.sum() == 0


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20)), min_size=6, max_size=60))
@settings(deadline=None, max_examples=30)
def test_figures_hold_two_decimals_and_the_auc(cases: list[tuple[int, int]]) -> None:
    """Or nothing, where a class has too few cases; the same for the same patients each time."""
    labels = np.array([label for label, _ in cases])
    made = scores(labels, np.array([place / 20 for _, place in cases]))
    figures = own_figures(made, plan_of(), TASK, SitePolicy(minimum_cases=1))
    enough = 3 <= labels.sum() <= len(labels) - 3
    assert figures["reported"] == enough
    assert set(figures) == {"auc", "auc-low", "auc-high", "reported"}
    assert figures == {name: round(value, 2) for name, value in figures.items()}
    if enough:
        area = auc(made.labels, made.probabilities)
        assert area is not None
        assert 0 <= figures["auc-low"] <= figures["auc"] == round(area, 2) <= figures["auc-high"] <= 1
        assert figures == own_figures(made, plan_of(), TASK, SitePolicy(minimum_cases=1))
    else:
        assert not any(figures.values())


def test_a_policy_that_asks_for_more_cases_or_no_figures_is_kept() -> None:
    """The stricter of plan and policy counts."""
    made = scores(np.array([0, 1] * 10), np.linspace(0, 1, 20))
    assert own_figures(made, plan_of(), TASK, SitePolicy(minimum_cases=10))["reported"]
    assert not own_figures(made, plan_of(), TASK, SitePolicy(minimum_cases=11))["reported"]
    assert not own_figures(made, plan_of(), TASK, SitePolicy(minimum_cases=1, site_metrics=False))["reported"]


def test_patients_are_drawn_and_not_their_images() -> None:
    """Two cases of each patient, equal in all: as wide as from one of each, not as from twice as many patients."""
    random = np.random.default_rng(3)
    labels = np.array([0, 1] * 20)
    probabilities = np.clip(random.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    area = auc(labels, probabilities)
    assert area is not None
    doubled = Scores(*(np.tile(values, 2) for values in (labels, probabilities, np.arange(40))))
    single = scores(labels, probabilities)
    assert bootstrap(doubled, area, seed=1, least=3) == pytest.approx(bootstrap(single, area, seed=1, least=3))
    apart = doubled._replace(patients=np.arange(80))
    narrow, wide = bootstrap(apart, area, seed=1, least=3), bootstrap(doubled, area, seed=1, least=3)
    assert narrow.high - narrow.low < 0.85 * (wide.high - wide.low)


@given(st.integers(11, 200), st.integers(11, 200))
@settings(deadline=None, max_examples=20)
def test_a_perfect_auc_is_not_certain_and_tells_no_number(negative: int, positive: int) -> None:
    """No sample has another one, so its lower end is that of as few patients as may be, however many there are."""
    made = scores(np.array([0] * negative + [1] * positive), np.arange(negative + positive) / (negative + positive))
    figures = own_figures(made, plan_of(), TASK, SitePolicy(minimum_cases=11))
    assert figures == {"auc": 1.0, "auc-low": 0.82, "auc-high": 1.0, "reported": 1}


def test_a_model_of_one_site_is_the_best_of_its_rounds() -> None:
    """It learns, it is the same each time, and on validation images no round was better."""
    random = np.random.default_rng(5)
    labels = np.array([0, 1] * 12)
    images = (random.normal(size=(24, 32, 32)) + labels[:, None, None] * (np.arange(32) > 16)).astype(np.float32)
    samples, task = Samples(images, labels, np.arange(24)), TASK.model_copy(update={"rounds": 3})
    model = train_alone(samples, samples, task)
    reached = evaluate(model, samples)
    assert (
        reached.probabilities.tolist() == evaluate(train_alone(samples, samples, task), samples).probabilities.tolist()
    )
    assert (reached.auc or 0) > (evaluate(build_model(task), samples).auc or 0)
