"""Every number of a plan and of a request has its bounds, and each holds to the last value."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from shared.errors.federation import PlanInvalid
from shared.errors.inputs import InvalidArgument
from shared.federation.cell_policy import CellPolicy
from shared.federation.filter import Filter
from shared.federation.plan import EvaluationTask, Member, Plan, PlanRequest, Proposal, check_plan
from shared.federation.task import CountPrivacy, EarlyStop, ModelOptions, Privacy, StatisticsTask, TrainingTask
from shared.frozen import Frozen
from shared.ids import RunId, Sha256, SiteId

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def members(count: int) -> tuple[Member, ...]:
    return tuple(Member(site_id=SiteId(str(100_000 + n)), fingerprint=f"SHA256:{n:043}") for n in range(count))


def plan(count: int = 3, **changes: Any) -> Plan:
    fields = {"run": RunId.random(), "purpose": "training", "protocol_digest": Sha256("0" * 64), "minimum_sites": 3}
    times = {"created_at": NOW, "expires_at": NOW + timedelta(days=1)}
    return Plan.model_validate({**fields, **times, "sites": members(count), "training": TrainingTask(), **changes})


@pytest.mark.parametrize(
    ("field", "within", "outside"),
    [
        ("label", ["a", "a" * 64, "pneumonia_2"], ["", "a" * 65, "2a", "A"]),
        ("image_size", [32, 48, 256], [16, 31, 33, 257, 272]),
        ("rounds", [1, 500], [0, 501]),
        ("local_epochs", [1, 50], [0, 51]),
        ("batch_size", [1, 1024], [0, 1025]),
        ("learning_rate", [1e-9, 10], [0, 10.1]),
        ("server_learning_rate", [1e-9, 10], [0, 10.1]),
        ("proximal_mu", [0, 100], [-0.1, 100.1]),
        ("maximum_images", [1, 2**18], [0, 2**18 + 1]),
        ("update_norm", [1e-9, 1e6], [0, 1e6 + 1]),
        ("validation_share", [1e-9, 0.99], [0, 1]),
        ("seed", [0, 2**31 - 1], [-1, 2**31]),
        ("minimum_cases", [1, 2], [0]),
        ("test_share", [0, 0.99], [-0.01, 1]),
        ("specificity", [1e-9, 0.99], [0, 1]),
    ],
)
def test_a_training_is_within_its_bounds(field: str, within: list[Any], outside: list[Any]) -> None:
    """One step beyond each is refused."""
    for value in within:
        assert getattr(TrainingTask.model_validate({field: value}), field) == value
    for value in outside:
        with pytest.raises(ValidationError):
            TrainingTask.model_validate({field: value})


def test_a_training_is_by_default_what_the_readme_says() -> None:
    """Masked, with figures of a site only from eleven cases of each class on."""
    task = TrainingTask()
    assert (task.masked, task.site_metrics, task.minimum_cases, task.strategy) == (True, True, 11, "fedavg")
    assert (task.rounds, task.local_epochs, task.batch_size, task.image_size, task.seed) == (3, 4, 8, 64, 0)
    assert (task.learning_rate, task.server_learning_rate, task.proximal_mu) == (0.002, 0.01, 0.0)
    assert (task.maximum_images, task.update_norm, task.validation_share) == (10_000, 1000.0, 0.25)


@pytest.mark.parametrize("kind", [Plan, PlanRequest])
def test_a_round_waits_between_a_second_and_a_day_for_three_sites(kind: type[Plan] | type[PlanRequest]) -> None:
    """In a plan as in a request."""
    whole = plan().model_dump() if kind is Plan else {"purpose": "training", "training": {}}
    assert kind.model_validate(whole).timeout_seconds == 3600
    assert kind.model_validate(whole).minimum_sites == 3
    for field, within, outside in (("timeout_seconds", (1, 86400), (0, 86401)), ("minimum_sites", (3,), (2,))):
        for value in within:
            kind.model_validate(whole | {field: value})
        for value in outside:
            with pytest.raises(ValidationError):
                kind.model_validate(whole | {field: value})


def test_a_name_of_a_cohort_is_short() -> None:
    """And so are its options."""
    assert StatisticsTask(cohort="a" * 64, policy="a" * 63, options="x" * 65536).cohort
    for wrong in ({"cohort": "a" * 65}, {"cohort": "a", "policy": "a" * 64}, {"cohort": "a", "options": "x" * 65537}):
        with pytest.raises(ValidationError):
            StatisticsTask(**wrong)


def test_masks_hold_for_so_many_sites() -> None:
    """One more, and a sum could leave its 64 bits; without masks there may be more."""
    check_plan(plan(1024))
    with pytest.raises(PlanInvalid):
        check_plan(plan(1025))
    check_plan(plan(1025, training=TrainingTask(masked=False)))


def test_a_plan_has_as_many_sites_as_it_needs_and_a_time() -> None:
    """To the last site and the last moment; moments carry their zone."""
    check_plan(plan(3, minimum_sites=3))
    with pytest.raises(PlanInvalid):
        check_plan(plan(3, minimum_sites=4))
    check_plan(plan(expires_at=NOW + timedelta(microseconds=1)))
    with pytest.raises(PlanInvalid):
        check_plan(plan(expires_at=NOW))
    with pytest.raises(ValidationError):
        plan(created_at=NOW.replace(tzinfo=None))
    with pytest.raises(ValidationError):
        plan(expires_at=NOW.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("name", "highest", "base"),
    [("cms-11", 10, 1), ("nhs-7-round-5", 7, 5), ("min-2", 1, 1), ("min-5", 4, 1), ("min-9999", 9998, 1)],
)
def test_a_policy_hides_what_its_name_says(name: str, highest: int, base: int) -> None:
    """From 1 to the highest; a shown count is of the range that it stands for, and of no other."""
    policy = CellPolicy.named(name)
    assert (policy.highest, policy.base) == (highest, base)
    assert [policy.is_small(count) for count in (0, 1, highest, highest + 1)] == [False, True, True, False]
    for count in (0, *range(highest + 1, highest + 40)):
        low, high = policy.range_of(policy.shown(count))
        assert low <= count <= high
        assert {policy.shown(each) for each in range(low, high + 1)} == {policy.shown(count)}
        assert policy.shown(high + 1) != policy.shown(count) or policy.is_small(high + 1)
        if low > highest + 1:
            assert policy.shown(low - 1) != policy.shown(count)


@pytest.mark.parametrize("name", ["", "min-1", "min-0", "min-05", "min-10000", "cms-12", "min-5 "])
def test_no_other_policy_has_a_name(name: str) -> None:
    """A policy that hides nothing, too."""
    with pytest.raises(InvalidArgument):
        CellPolicy.named(name)


def test_a_policy_is_as_strict_as_another_where_it_hides_and_rounds_as_much() -> None:
    """`nhs-7-round-5` rounds and hides less than `cms-11`: neither is as strict as the other."""
    names = ("min-5", "cms-11", "min-11", "nhs-7-round-5", "min-8")
    stricter = {(name, other) for name in names for other in names
                if CellPolicy.named(name).hides_as_much_as(CellPolicy.named(other))}  # fmt: skip
    assert stricter == {
        *((name, name) for name in names), ("cms-11", "min-5"), ("min-11", "min-5"), ("min-8", "min-5"),
        ("nhs-7-round-5", "min-5"), ("cms-11", "min-11"), ("min-11", "cms-11"), ("cms-11", "min-8"),
        ("min-11", "min-8"), ("nhs-7-round-5", "min-8"),
    }  # fmt: skip


FILTERS = tuple({"variable": f"a{number}", "categories": ("yes",)} for number in range(11))
EVALUATED = {"run": "R-0123456789ab", "round": 1, "sha256": "0" * 64, "state_sha256": "0" * 64, "training": {}}
SIGNED = {"signed": {"document": "{}", "signature": "x"}, "verify_key": "k", "certificate": "c", "endorsement": "e"}


@pytest.mark.parametrize(
    ("kind", "base", "field", "within", "outside"),
    [
        (ModelOptions, {}, "dropout", [0, 0.9], [-0.01, 0.91, 1]),
        (ModelOptions, {}, "filters", [8, 16, 64], [0, 7, 9, 12, 65, 72]),
        (ModelOptions, {}, "slices", [4, 64], [3, 65]),
        (EarlyStop, {"patience": 1}, "patience", [1, 100], [0, 101]),
        (EarlyStop, {"patience": 1}, "least_improvement", [0, 0.99], [-0.01, 1]),
        (Privacy, {"noise_multiplier": 1}, "noise_multiplier", [0.3, 100], [0.29, 100.1]),
        (Privacy, {"noise_multiplier": 1}, "clip_norm", [1e-9, 100], [0, 100.1]),
        (Privacy, {"noise_multiplier": 1}, "batches", [1, 1000], [0, 1001]),
        (CountPrivacy, {}, "epsilon", [0.01, 10], [0.009, 10.1]),
        (TrainingTask, {}, "filter", [FILTERS[:10]], [FILTERS]),
        (StatisticsTask, {"cohort": "a"}, "filter", [FILTERS[:10]], [FILTERS]),
        (Filter, {"categories": ("a",)}, "variable", ["a" * 64, "a_2"], ["a" * 65, "", "A", "2a"]),
        (Filter, {"variable": "a"}, "categories", [("a",), tuple(map(str, range(50)))],
         [(), ("a", "a"), tuple(map(str, range(51)))]),
        (EvaluationTask, EVALUATED, "round", [1, 2], [0]),
        (PlanRequest, {"purpose": "training"}, "aim", ["a" * 300], ["a" * 301, "a\nb", "a\x7f", "\x9f"]),
        (PlanRequest, {"purpose": "training"}, "researcher", ["a" * 63], ["a" * 64]),
        (Proposal, SIGNED, "verify_key", ["a" * 200], ["a" * 201]),
        (Proposal, SIGNED, "certificate", ["a" * 16384], ["a" * 16385]),
        (Proposal, SIGNED, "endorsement", ["a" * 200], ["a" * 201]),
    ],
)  # fmt: skip
def test_every_other_part_is_within_its_bounds(
    kind: type[Frozen], base: dict[str, Any], field: str, within: list[Any], outside: list[Any]
) -> None:
    """One step beyond each is refused, and what names nothing else is not."""
    for value in within:
        kind.model_validate(base | {field: value})
    for value in outside:
        with pytest.raises(ValidationError):
            kind.model_validate(base | {field: value})


@pytest.mark.parametrize(("field", "most"), [("aim", 300), ("researcher", 63)])
def test_a_plan_says_no_more_than_a_request_may(field: str, most: int) -> None:
    """Of what for, and of who asked; empty, its bytes have neither."""
    whole = plan().model_dump()
    assert len(getattr(Plan.model_validate(whole | {field: "a" * most}), field)) == most
    with pytest.raises(ValidationError):
        Plan.model_validate(whole | {field: "a" * (most + 1)})
    assert field not in plan().model_dump()


def test_a_part_is_by_default_what_the_readme_says() -> None:
    """And a model's options that are the default leave the bytes of earlier plans as they were."""
    options = ModelOptions()
    assert (options.dropout, options.filters, options.slices, options.pooling) == (0.0, 8, 16, "attention")
    assert not {"slices", "pooling"} & {*options.model_dump()}
    assert ModelOptions(slices=17, pooling="max").model_dump()["slices"] == 17
    privacy = Privacy(noise_multiplier=1)
    assert (privacy.clip_norm, privacy.batches, EarlyStop(patience=1).least_improvement) == (1.0, 10, 0.0)
    task = TrainingTask()
    assert (task.test_share, task.specificity, task.baseline) == (0.2, 0.9, False)
    assert (task.norm, task.optimizer) == ("group", "adam")
    assert (task.package, task.early_stop, task.privacy, task.filter) == (None, None, None, ())
    assert not {"early_stop", "privacy", "filter"} & {*task.model_dump()}


def test_a_batch_of_slices_fits_a_sites_memory() -> None:
    """To the last pixel; only of the model that learns from slices."""
    most = TrainingTask(model="ct-slices", batch_size=4, image_size=256, model_options=ModelOptions(slices=16))
    check_plan(plan(training=most))
    for change in ({"batch_size": 5}, {"model_options": ModelOptions(slices=17)}):
        with pytest.raises(PlanInvalid, match="too large for a site's memory"):
            check_plan(plan(training=most.model_copy(update=change)))
    check_plan(plan(training=TrainingTask(batch_size=1024, image_size=256)))


def test_sums_are_of_what_a_plan_masks() -> None:
    """A training's answers unless it says not so, a test's always, that of a site alone only as a test; no question."""
    masked, bare, counted = plan(), plan(training=TrainingTask(masked=False)), plan(training=None)
    kinds = ("query", "train", "evaluate", "evaluate.best", "evaluate.last", "evaluate.alone")
    assert [[each.sums(kind) for kind in kinds] for each in (masked, bare, counted)] == [
        [False, True, True, True, True, False],
        [False, False, False, True, True, False],
        [False, True, True, True, True, True],
    ]
