"""A plan that cannot hold is refused, and so is a plan that nobody signed."""

import json
from datetime import timedelta

import pytest

from shared.crypto.signing import SigningKey
from shared.errors.federation import PlanInvalid
from shared.errors.trust import SignatureInvalid
from shared.federation.models.registry import MODELS, build_model, get_state, set_state
from shared.federation.plan import (
    MOST_SITES,
    Member,
    Plan,
    PlanRequest,
    check_plan,
    complete_plan,
    parse_request,
    sign_plan,
    verify_plan,
)
from shared.federation.task import MODEL_NAMES, MONAI_NAMES, StatisticsTask, TrainingTask
from shared.ids import Sha256, SiteId

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
