"""The site's policy: what it does not allow is refused, and the first policy allows this release's work."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.agreement import Mode
from shared.crypto.signing import SigningKey
from shared.errors.federation import RunRefused
from shared.errors.settings import InvalidSetting, PolicyMissing, UnknownSetting
from shared.federation.bundle import bundle_digest
from shared.federation.histogram import Histogram
from shared.federation.plan import Member, Plan, PlanRequest, complete_plan
from shared.federation.task import StatisticsTask, TrainingTask
from shared.ids import Sha256, SiteId
from shared.protocol.cohort import Table
from site_node.federate.policy import (
    SitePolicy,
    check_bundle,
    check_message,
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
