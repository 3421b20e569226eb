"""A plan that cannot hold is refused, and so is a plan that nobody signed."""

import json
from datetime import timedelta
from typing import Any

import pytest

from shared.crypto.signing import SigningKey
from shared.errors.federation import PlanInvalid
from shared.errors.trust import SignatureInvalid
from shared.federation.filter import Filter
from shared.federation.models.registry import MODELS, build_model, get_state, set_state
from shared.federation.plan import (
    MOST_SITES,
    EvaluationRequest,
    EvaluationTask,
    Member,
    Plan,
    PlanRequest,
    check_plan,
    check_request,
    complete_plan,
    parse_request,
    sign_plan,
    verify_plan,
)
from shared.federation.task import (
    MODEL_NAMES,
    MONAI_NAMES,
    CountPrivacy,
    ModelOptions,
    Privacy,
    StatisticsTask,
    TrainingTask,
)
from shared.ids import RunId, Sha256, SiteId
from shared.protocol.cohort import Mean

KEY = SigningKey.generate()
DIGEST = Sha256("b" * 64)


def members(count: int = 3) -> tuple[Member, ...]:
    return tuple(
        Member(site_id=SiteId(str(100_001 + n)), fingerprint=SigningKey.generate().fingerprint) for n in range(count)
    )


def make_plan(**changes: object) -> Plan:
    request = PlanRequest(purpose="training", training=TrainingTask())
    return complete_plan(request, members=members(), protocol_digest=DIGEST).model_copy(update=changes)


def test_a_signed_plan_comes_back_whole() -> None:
    """Signing and verifying give the same plan."""
    plan = make_plan()
    assert verify_plan(sign_plan(plan, KEY), KEY.public) == plan


def test_a_plan_changed_after_signing_is_none() -> None:
    """A changed text breaks the signature, and another key's signature does not count."""
    changed = json.loads(sign_plan(make_plan(), KEY))
    changed["document"] = changed["document"].replace('"rounds":3', '"rounds":9')
    for text, key in ((json.dumps(changed), KEY), (sign_plan(make_plan(), SigningKey.generate()), KEY), ("{}", KEY)):
        with pytest.raises(SignatureInvalid):
            verify_plan(text, key.public)


def test_what_cannot_hold_is_refused() -> None:
    """Each rule of the validator refuses the plan that breaks it."""
    good = make_plan()
    member = good.sites[0]
    broken: list[dict[str, object]] = [
        {"sites": good.sites[:2]},
        {"sites": (member, *good.sites)},
        {"sites": (*good.sites, Member(site_id=SiteId("777777"), fingerprint=member.fingerprint))},
        {"training": None},
        {"statistics": StatisticsTask(cohort="ricord")},
        {"purpose": "statistics"},
        {"training": TrainingTask(model="another")},
        {"training": TrainingTask(proximal_mu=0.5)},
        {"training": TrainingTask(strategy="krum")},  # masked, by default
        {"training": TrainingTask(strategy="fedmedian")},
        {"training": TrainingTask(strategy="fedtrimmedavg")},
        {"sites": members(MOST_SITES + 1)},
        {"expires_at": good.created_at - timedelta(seconds=1)},
    ]
    check_plan(good)
    check_plan(good.model_copy(update={"training": TrainingTask(strategy="krum", masked=False)}))
    for changes in broken:
        with pytest.raises(PlanInvalid):
            check_plan(good.model_copy(update=changes))


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{", "the plan"),
        ('{"purpose": "other"}', "purpose"),
        ('{"purpose": "training", "minimum_sites": 2}', "minimum_sites"),
        ('{"purpose": "training", "training": {"rounds": 0}}', "training.rounds"),
        ('{"purpose": "training", "training": {"image_size": 65}}', "training.image_size"),
        ('{"purpose": "training", "training": {"label": "icu [31m"}}', "training.label"),
        ('{"purpose": "training", "training": {"label": "icu\\n"}}', "training.label"),
        ('{"purpose": "statistics", "statistics": {"cohort": "A b"}}', "statistics.cohort"),
        ('{"purpose": "training", "secret": 1}', "secret"),
    ],
)
def test_a_request_that_is_wrong_names_the_field(text: str, field: str) -> None:
    """The error of a wrong request names its field."""
    with pytest.raises(PlanInvalid) as caught:
        parse_request(text)
    assert field in caught.value.public


def test_plans_name_exactly_the_models_there_are() -> None:
    """The names in the validator are those of the registry."""
    assert {*MODEL_NAMES, *MONAI_NAMES} == set(MODELS)


def test_a_model_is_the_same_everywhere_and_its_state_travels() -> None:
    """Built twice from one seed a model is equal, and its packed state restores it."""
    task = TrainingTask(seed=5)
    first, second, other = build_model(task), build_model(task), build_model(TrainingTask(seed=6))
    assert (get_state(first) == get_state(second)).all()
    assert (get_state(first) != get_state(other)).any()
    set_state(other, get_state(first))
    assert (get_state(first) == get_state(other)).all()


PRIVATE = Privacy(noise_multiplier=1)
RUN = RunId("R-0123456789ab")
EVALUATED = EvaluationTask(run=RUN, round=1, sha256=DIGEST, state_sha256=DIGEST, training=TrainingTask())


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        (TrainingTask(model="a:b"), "`package` stands with"),
        (TrainingTask(model="small-cnn", package=DIGEST), "`package` stands with"),
        (TrainingTask(model="a:b:c", package=DIGEST), "no model of that name"),
        (TrainingTask(model="A:b", package=DIGEST), "no model of that name"),
        (TrainingTask(model_options=ModelOptions(dropout=0.5)), "no such option"),
        (TrainingTask(model="monai:DenseNet121", model_options=ModelOptions(filters=16)), "no such option"),
        (TrainingTask(model="monai:DenseNet121", model_options=ModelOptions(slices=8)), "no such option"),
        (TrainingTask(validation_share=0.5, test_share=0.5), "no patient to train on"),
        (TrainingTask(validation_share=0.7, test_share=0.4), "no patient to train on"),
        (TrainingTask(model="monai:DenseNet121", privacy=PRIVATE), "`small-cnn` only"),
        (TrainingTask(norm="batch", privacy=PRIVATE), "batch norms mix patients"),
        (TrainingTask(strategy="fedprox", privacy=PRIVATE), "no proximal term"),
        (TrainingTask(baseline=True, privacy=PRIVATE), "`baseline`"),
        (TrainingTask(proximal_mu=0.1), "fedprox"),
    ],
)
def test_a_training_that_cannot_be_is_refused_with_its_reason(task: TrainingTask, problem: str) -> None:
    """In a request as in a plan, and of the model that a plan evaluates wherever its network is at fault."""
    with pytest.raises(PlanInvalid, match=problem):
        check_request(PlanRequest(purpose="training", training=task))
    with pytest.raises(PlanInvalid, match=problem):
        check_plan(make_plan(training=task))


@pytest.mark.parametrize(
    "task",
    [
        TrainingTask(model="a:b", package=DIGEST),
        TrainingTask(model="some-lab:net-2", package=DIGEST),
        TrainingTask(model="monai:DenseNet121", model_options=ModelOptions(dropout=0.5)),
        TrainingTask(model="monai:SegResNet", model_options=ModelOptions(dropout=0.5, filters=16)),
        TrainingTask(model="ct-slices", batch_size=1, model_options=ModelOptions(slices=8, pooling="max")),
        TrainingTask(validation_share=0.5, test_share=0.4),
        TrainingTask(privacy=PRIVATE),
        TrainingTask(strategy="fedprox", proximal_mu=0.1),
        TrainingTask(strategy="fedprox"),
        TrainingTask(norm="batch"),
        TrainingTask(baseline=True),
    ],
)
def test_a_training_that_can_be_is_not(task: TrainingTask) -> None:
    """Each beside a rule that it keeps."""
    check_request(PlanRequest(purpose="training", training=task))
    check_plan(make_plan(training=task))


def test_counts_of_a_part_need_noise_and_means_need_none() -> None:
    """Exact counts of a part are a table that nobody protects."""
    part, mean = (Filter(variable="sex", categories=("female",)),), (Mean(variable="age", low=0, high=90),)
    task, noise = StatisticsTask(cohort="ricord"), CountPrivacy(epsilon=1)
    kept: tuple[dict[str, Any], ...] = ({}, {"privacy": noise}, {"privacy": noise, "filter": part}, {"means": mean})
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"filter": part}, "exact counts of a part"),
        ({"privacy": noise, "means": mean}, "without `means`"),
    )
    for changes in kept:
        check_request(PlanRequest(purpose="statistics", statistics=task.model_copy(update=changes)))
    for changes, problem in refused:
        with pytest.raises(PlanInvalid, match=problem):
            check_request(PlanRequest(purpose="statistics", statistics=task.model_copy(update=changes)))


def test_what_is_evaluated_stands_with_its_purpose_only() -> None:
    """In a request and in a plan; a model whose norm layers stayed at other sites cannot be."""
    asked, counted = EvaluationRequest(run=RUN), StatisticsTask(cohort="ricord")
    check_request(PlanRequest(purpose="evaluation", evaluation=asked))
    for wrong in (
        PlanRequest(purpose="evaluation"),
        PlanRequest(purpose="statistics", statistics=counted, evaluation=asked),
        PlanRequest(purpose="evaluation", evaluation=asked, statistics=counted),
        PlanRequest(purpose="evaluation", evaluation=asked, training=TrainingTask()),
        PlanRequest(purpose="training"),
        PlanRequest(purpose="statistics"),
    ):
        with pytest.raises(PlanInvalid, match="stands with"):
            check_request(wrong)
    plan = make_plan(purpose="evaluation", training=None, evaluated=EVALUATED)
    check_plan(plan)
    assert plan.learning == EVALUATED.training
    assert make_plan().learning == TrainingTask()
    for changes in ({"evaluated": None}, {"purpose": "training", "training": TrainingTask()}):
        with pytest.raises(PlanInvalid, match="`evaluation` stands with"):
            check_plan(plan.model_copy(update=changes))
    for task, problem in ((TrainingTask(strategy="fedbn"), "norm layers"), (TrainingTask(model="x"), "no model")):
        with pytest.raises(PlanInvalid, match=problem):
            check_plan(plan.model_copy(update={"evaluated": EVALUATED.model_copy(update={"training": task})}))


def test_a_request_without_sites_is_held_to_its_minimum() -> None:
    """Whoever takes part is not known yet; named sites are counted, each once."""
    request = PlanRequest(purpose="training", training=TrainingTask(), minimum_sites=1024)
    check_request(request)
    with pytest.raises(PlanInvalid, match="1024 sites at most"):
        check_request(request.model_copy(update={"minimum_sites": 1025}))
    sites = tuple(SiteId(str(100_001 + number)) for number in range(4))
    for named, problem in ((sites[:3], "3 sites are fewer"), ((*sites, sites[0]), "named twice")):
        with pytest.raises(PlanInvalid, match=problem):
            check_request(request.model_copy(update={"minimum_sites": 4, "sites": named}))
    check_request(request.model_copy(update={"minimum_sites": 4, "sites": sites}))


def test_a_problem_begins_with_its_field_in_small_letters() -> None:
    """The names that pydantic gives to kinds of a type are left out."""
    with pytest.raises(PlanInvalid, match=r"plan is not valid: training\.rounds: input should") as caught:
        parse_request('{"purpose": "training", "training": {"rounds": 0}}')
    assert "0}}" not in caught.value.public


def test_a_signature_makes_no_plan_hold() -> None:
    """What contradicts itself is refused, whoever signed it."""
    with pytest.raises(PlanInvalid, match="`training` stands with"):
        verify_plan(sign_plan(make_plan(training=None), KEY), KEY.public)
