"""The site's policy: what it does not allow is refused, and the first policy allows this release's work."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from shared.agreement import Mode
from shared.crypto.signing import SigningKey
from shared.errors.federation import RunRefused
from shared.errors.settings import InvalidSetting, PolicyMissing, UnknownSetting
from shared.federation.bundle import bundle_digest
from shared.federation.filter import Filter
from shared.federation.histogram import Histogram
from shared.federation.plan import ALONE, TESTS, EvaluationTask, Member, Plan, PlanRequest, complete_plan
from shared.federation.task import MODEL_NAMES, Privacy, StatisticsTask, TrainingTask
from shared.ids import RunId, Sha256, SiteId
from shared.protocol.cohort import Table
from site_node.federate.policy import (
    SitePolicy,
    check_bundle,
    check_message,
    check_patients,
    check_size,
    check_witness,
    least_cases,
    load_policy,
    may_report_figures,
    write_default_policy,
)

DIGEST = Sha256("c" * 64)
MEMBERS = tuple(
    Member(site_id=SiteId(str(100_001 + n)), fingerprint=SigningKey.generate().fingerprint) for n in range(4)
)
OWN = MEMBERS[0]


def make_plan(**changes: object) -> Plan:
    request = PlanRequest(purpose="training", training=TrainingTask())
    return complete_plan(request, members=MEMBERS, protocol_digest=DIGEST).model_copy(update=changes)


def judge(policy: SitePolicy, plan: Plan, **changes: object) -> None:
    asked: dict[str, object] = {
        "site_id": OWN.site_id,
        "fingerprint": OWN.fingerprint,
        "protocol_digest": DIGEST,
        "modes": (Mode.TRAINING,),
        "agreement_expires_at": datetime.now(UTC) + timedelta(hours=1),
        "kind": "train",
        "server_round": 1,
    }
    check_message(policy, plan, **(asked | changes))  # type: ignore[arg-type] # a test's table of arguments


@pytest.fixture
def policy(tmp_path: Path) -> SitePolicy:
    write_default_policy(tmp_path / "federation-policy.toml")
    return load_policy(tmp_path / "federation-policy.toml")


def test_the_first_policy_allows_what_is_shipped(policy: SitePolicy) -> None:
    """This release's bundle, its model, three sites."""
    check_bundle(policy, bundle_digest())
    judge(policy, make_plan())


def test_an_empty_policy_allows_nothing() -> None:
    """Closed by default: every list starts empty."""
    with pytest.raises(RunRefused):
        check_bundle(SitePolicy(), bundle_digest())
    with pytest.raises(RunRefused):
        judge(SitePolicy(), make_plan())


def test_a_policy_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    """What a hospital has written stays."""
    file = tmp_path / "federation-policy.toml"
    file.write_text("max_rounds = 1\n")
    write_default_policy(file)
    assert load_policy(file).max_rounds == 1


def test_no_policy_or_a_wrong_one_stops_the_start(tmp_path: Path) -> None:
    """No file means no federated work; an unknown key is named, and so is an unknown policy for small cells."""
    with pytest.raises(PolicyMissing):
        load_policy(tmp_path / "none.toml")
    (tmp_path / "wrong.toml").write_text("allow_everything = true\n")
    with pytest.raises(UnknownSetting):
        load_policy(tmp_path / "wrong.toml")
    (tmp_path / "wrong.toml").write_text('small_cells = "all"\n')
    with pytest.raises(InvalidSetting) as caught:
        load_policy(tmp_path / "wrong.toml")
    assert "small_cells" in caught.value.public


@pytest.mark.parametrize(
    ("limits", "plan", "asked"),
    [
        ({}, {}, {"site_id": SiteId("999999")}),
        ({}, {}, {"fingerprint": MEMBERS[1].fingerprint}),
        ({}, {}, {"protocol_digest": "d" * 64}),
        ({}, {}, {"modes": ()}),
        ({}, {}, {"modes": (Mode.COHORT, Mode.STATISTICS, Mode.SUBMIT)}),
        ({}, {}, {"agreement_expires_at": datetime.now(UTC)}),
        ({}, {}, {"kind": "query"}),
        ({}, {}, {"kind": "reconnect"}),
        ({}, {}, {"server_round": 0}),
        ({}, {}, {"server_round": 4}),
        ({}, {"expires_at": datetime.now(UTC)}, {}),
        ({}, {"created_at": datetime.now(UTC) + timedelta(hours=1)}, {}),
        ({"purposes": ("statistics",)}, {}, {}),
        ({"models": ("other",)}, {}, {}),
        ({"labels": ("covid_status",)}, {}, {}),
        ({"max_rounds": 2}, {}, {}),
        ({"minimum_sites": 4}, {}, {}),
        ({}, {"training": TrainingTask(masked=False)}, {}),
    ],
)
def test_each_rule_refuses(
    policy: SitePolicy, limits: dict[str, object], plan: dict[str, object], asked: dict[str, object]
) -> None:
    """One thing wrong is enough, whatever else is right."""
    with pytest.raises(RunRefused):
        judge(policy.model_copy(update=limits), make_plan(**plan), **asked)


@pytest.mark.parametrize("mode", list(Mode))
def test_statistics_need_a_mode_of_their_own(policy: SitePolicy, mode: Mode) -> None:
    """The signed agreement covers statistics as cohort or as statistics; submission and training do not."""
    request = PlanRequest(purpose="statistics", statistics=StatisticsTask(cohort="ricord"))
    plan = complete_plan(request, members=MEMBERS, protocol_digest=DIGEST)
    asked = {"kind": "query", "server_round": 0, "modes": (mode,), "agreement_expires_at": None}
    if mode in (Mode.COHORT, Mode.STATISTICS):
        judge(policy, plan, **asked)
    else:
        with pytest.raises(RunRefused):
            judge(policy, plan, **asked)


def test_each_kind_of_statistic_is_allowed_by_name(policy: SitePolicy) -> None:
    """A new policy allows all; one from before, the whole cohort's table only."""
    histogram, table = Histogram(variable="age", edges=(50,)), Table(rows="age", columns="sex")
    asked = {"kind": "query", "server_round": 0, "modes": (Mode.COHORT,), "agreement_expires_at": None}
    before = policy.model_copy(update={"statistics": SitePolicy().statistics})
    for parts in (
        {},
        {"histograms": (histogram,)},
        {"tables": (table,)},
        {"histograms": (histogram,), "tables": (table,)},
    ):
        task = StatisticsTask(cohort="ricord", **parts)
        request = PlanRequest(purpose="statistics", statistics=task)
        plan = complete_plan(request, members=MEMBERS, protocol_digest=DIGEST)
        judge(policy, plan, **asked)
        for allowed in (before, policy.model_copy(update={"statistics": ("cohort", "tables")})):
            if set(task.kinds) <= set(allowed.statistics):
                judge(allowed, plan, **asked)
            else:
                with pytest.raises(RunRefused, match="statistics of the kind"):
                    judge(allowed, plan, **asked)


def test_a_pinned_peer_under_another_key_is_refused(policy: SitePolicy) -> None:
    """The coordinator cannot put its own key in a known site's place."""
    pins = {member.site_id: member.fingerprint for member in MEMBERS[1:]}
    judge(policy.model_copy(update={"pins": pins}), make_plan())
    lie = {**pins, MEMBERS[1].site_id: SigningKey.generate().fingerprint}
    with pytest.raises(RunRefused):
        judge(policy.model_copy(update={"pins": lie}), make_plan())


def test_with_pins_only_pinned_peers_count(policy: SitePolicy) -> None:
    """Invented sites do not make up the minimum."""
    pins = {MEMBERS[1].site_id: MEMBERS[1].fingerprint}
    with pytest.raises(RunRefused):
        judge(policy.model_copy(update={"pins": pins}), make_plan())


@pytest.mark.parametrize(
    ("cases", "asked", "approved", "reported"),
    [
        ((11, 11), True, True, True),
        ((500, 10), True, True, False),
        ((10, 500), True, True, False),
        ((50, 50), False, True, False),
        ((50, 50), True, False, False),
    ],
)
def test_a_sites_own_figure_leaves_only_when_asked_approved_and_covered(
    policy: SitePolicy, cases: tuple[int, int], *, asked: bool, approved: bool, reported: bool
) -> None:
    """It needs eleven cases of each class, the plan's request and the site's approval."""
    plan = make_plan(training=TrainingTask(site_metrics=asked))
    assert may_report_figures(policy.model_copy(update={"site_metrics": approved}), plan, cases) is reported


def test_the_first_policy_says_what_holds_without_it(policy: SitePolicy) -> None:
    """But for what an empty list allows: this release's bundle and models, counting and training."""
    assert policy == SitePolicy(
        bundles=(bundle_digest(),),
        purposes=("statistics", "training"),
        models=MODEL_NAMES,
        statistics=("cohort", "histograms", "tables", "means"),
    )
    assert (policy.max_rounds, policy.minimum_sites, policy.minimum_cases, policy.minimum_patients) == (20, 3, 11, 20)
    assert (policy.site_metrics, policy.private, policy.parts, policy.unmasked) == (True, False, False, False)
    assert (policy.small_cells, policy.ask, policy.hours, policy.plans_per_month) == ("cms-11", "never", "", 0)
    assert (policy.epsilon, policy.colluders, policy.pins) == (8.0, 1, {})
    assert (policy.max_answer_bytes, policy.max_task_mb, policy.max_task_seconds) == (2**28, 4096, 3600)


def test_the_first_policy_is_its_owners(tmp_path: Path) -> None:
    """Whom a site trusts is nobody else's to read."""
    write_default_policy(tmp_path / "federation-policy.toml")
    assert (tmp_path / "federation-policy.toml").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("field", "least", "less"),
    [
        ("max_rounds", 1, 0),
        ("minimum_sites", 3, 2),
        ("minimum_cases", 1, 0),
        ("minimum_patients", 1, 0),
        ("plans_per_month", 0, -1),
        ("epsilon", 1e-9, 0),
        ("max_answer_bytes", 1, 0),
        ("max_task_mb", 512, 511),
        ("max_task_seconds", 1, 0),
        ("colluders", 0, -1),
        ("hours", "00:00-23:59", "00:00-24:00"),
        ("hours", "18:00-06:00", "18:00"),
        ("hours", "", "8:00-09:00"),
        ("hours", "19:30-20:59", "19:30-20:60"),
        ("pins", {"100001": "SHA256:" + "a" * 43}, {"100001": "SHA256:" + "a" * 42}),
        ("pins", {"100001": "SHA256:" + "+" * 43}, {"100001": "SHA256:" + "+" * 44}),
    ],
)
def test_a_limit_has_an_end(field: str, least: object, less: object) -> None:
    """One step beyond it the policy is none, and the node does not start."""
    assert getattr(SitePolicy.model_validate({field: least}), field) == least
    with pytest.raises(ValidationError):
        SitePolicy.model_validate({field: less})


EVALUATED = EvaluationTask(
    run=RunId("R-0123456789ab"), round=1, sha256=DIGEST, state_sha256=DIGEST, training=TrainingTask()
)
PART = (Filter(variable="sex", categories=("female",)),)
PRIVATE = Privacy(noise_multiplier=1)


@pytest.mark.parametrize(
    ("limits", "plan", "asked"),
    [
        ({"labels": ("pneumonia", "icu")}, {}, {}),
        ({"labels": ()}, {"training": TrainingTask(label="icu")}, {}),
        ({"parts": True}, {"training": TrainingTask(filter=PART)}, {}),
        ({"private": True}, {"training": TrainingTask(privacy=PRIVATE)}, {}),
        ({"unmasked": True}, {"training": TrainingTask(masked=False)}, {}),
        ({"models": ("a:b",), "packages": (DIGEST,)}, {"training": TrainingTask(model="a:b", package=DIGEST)}, {}),
        ({"max_rounds": 3}, {}, {"server_round": 3}),
        ({"minimum_sites": 4}, {"minimum_sites": 4}, {}),
        ({}, {"training": TrainingTask(baseline=True)}, {"kind": ALONE}),
        *(({}, {}, {"kind": kind}) for kind in ("train", "evaluate", *TESTS)),
        ({}, {}, {"agreement_expires_at": None}),
        ({}, {}, {"kind": "query", "server_round": None}),
        ({}, {"created_at": timedelta(minutes=4)}, {}),
        ({"purposes": ("evaluation",)}, {"purpose": "evaluation", "training": None, "evaluated": EVALUATED},
         {"kind": "evaluate"}),
    ],
)  # fmt: skip
def test_what_keeps_to_a_rule_is_allowed(
    policy: SitePolicy, limits: dict[str, object], plan: dict[str, object], asked: dict[str, object]
) -> None:
    """To the last round, site and moment."""
    judge(policy.model_copy(update=limits), make_plan(**from_now(plan)), **asked)


def from_now(plan: dict[str, object]) -> dict[str, object]:
    """Moments by how far they lie from the test, which may run long after it was collected."""
    return {name: datetime.now(UTC) + at if isinstance(at, timedelta) else at for name, at in plan.items()}


@pytest.mark.parametrize(
    ("limits", "plan", "asked", "problem"),
    [
        ({}, {"training": TrainingTask(filter=PART)}, {}, "a part of the cohort"),
        ({"private": True}, {}, {}, "without differential privacy"),
        ({"models": ("a:b",)}, {"training": TrainingTask(model="a:b", package=DIGEST)}, {}, "package is not on"),
        ({}, {"training": TrainingTask(model="monai:SegResNet")}, {}, "the model is not allowed"),
        ({}, {}, {"kind": ALONE}, "no model of this site alone"),
        ({}, {"training": TrainingTask(rounds=21)}, {}, "more than 20 rounds"),
        ({}, {}, {"server_round": 4}, "the round is outside the plan"),
        ({}, {"created_at": timedelta(minutes=6)}, {}, "from the future"),
        ({}, {"expires_at": datetime.now(UTC) - timedelta(seconds=1)}, {}, "the plan has expired"),
        ({"minimum_sites": 4}, {}, {}, "fewer than 4 sites would do"),
        ({}, {"purpose": "evaluation", "training": None, "evaluated": EVALUATED}, {"kind": "evaluate"},
         "the purpose evaluation is not allowed"),
        ({"purposes": ("evaluation",), "models": ()}, {"purpose": "evaluation", "training": None,
         "evaluated": EVALUATED}, {"kind": "evaluate"}, "the model is not allowed"),
        ({"purposes": ("evaluation",)}, {"purpose": "evaluation", "training": None, "evaluated": EVALUATED},
         {"kind": "train"}, "does not belong to the purpose"),
    ],
)  # fmt: skip
def test_what_a_rule_refuses_is_named(
    policy: SitePolicy, limits: dict[str, object], plan: dict[str, object], asked: dict[str, object], problem: str
) -> None:
    """One step beyond what is allowed."""
    with pytest.raises(RunRefused, match=problem):
        judge(policy.model_copy(update=limits), make_plan(**from_now(plan)), **asked)


def test_with_pins_this_site_counts_too(policy: SitePolicy) -> None:
    """Two pinned peers and the site itself are three; of a peer that is not on the roster nothing is asked."""
    pins: dict[Any, str] = {member.site_id: member.fingerprint for member in MEMBERS[1:3]}
    judge(policy.model_copy(update={"pins": pins}), make_plan())
    judge(policy.model_copy(update={"pins": pins | {SiteId("999999"): "SHA256:" + "a" * 43}}), make_plan())
    own = {OWN.site_id: "SHA256:" + "a" * 43}  # a site need not pin itself
    judge(policy.model_copy(update={"pins": pins | own}), make_plan())
    with pytest.raises(RunRefused, match="of the sites are known here"):
        judge(policy.model_copy(update={"pins": pins, "minimum_sites": 4}), make_plan(minimum_sites=4))


def test_the_stricter_of_plan_and_policy_counts(policy: SitePolicy) -> None:
    """Of how many cases a figure needs; a plan that learns nothing has no figures of its own."""
    for asked, held, least in ((5, 11, 11), (20, 11, 20)):
        task = TrainingTask(minimum_cases=asked)
        limits = policy.model_copy(update={"minimum_cases": held})
        assert least_cases(limits, task) == least
        assert may_report_figures(limits, make_plan(training=task), (least, least))
        assert not may_report_figures(limits, make_plan(training=task), (least, least - 1))
    assert not may_report_figures(policy, make_plan(training=None), (50, 50))
    evaluated = make_plan(purpose="evaluation", training=None, evaluated=EVALUATED)
    assert may_report_figures(policy, evaluated, (11, 11))


def test_an_answer_and_a_library_are_held_to_the_last_byte_and_patient(policy: SitePolicy) -> None:
    """As many as the policy says may leave, and are enough."""
    check_size(policy, policy.max_answer_bytes)
    with pytest.raises(RunRefused, match="more than may leave"):
        check_size(policy, policy.max_answer_bytes + 1)
    check_patients(policy, 20)
    with pytest.raises(RunRefused, match="fewer than 20 patients"):
        check_patients(policy, 19)


def test_nothing_is_answered_while_the_log_contradicts_itself(tmp_path: Path) -> None:
    """Until a person has looked at it."""
    check_witness(tmp_path / "contradiction.json")
    (tmp_path / "contradiction.json").write_text("{}")
    with pytest.raises(RunRefused, match="contradicts"):
        check_witness(tmp_path / "contradiction.json")
