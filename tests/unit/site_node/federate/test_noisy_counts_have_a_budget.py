"""Noisy counts: what leaves a site has noise, costs its budget, and is refused where that is spent."""

from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.crypto.signing import SigningKey
from shared.errors.federation import PlanInvalid, RunRefused
from shared.federation import records
from shared.federation.asked import definition_asked
from shared.federation.cell_policy import CellPolicy
from shared.federation.histogram import Histogram
from shared.federation.noise import scale_of, sensitivity_of
from shared.federation.plan import Plan, PlanRequest, complete_plan, sign_plan
from shared.federation.privacy import library as library_named
from shared.federation.secure_sum.messages import SumPlan
from shared.federation.task import CountPrivacy, StatisticsTask
from shared.ids import SiteId
from shared.protocol.cohort import CohortDefinition, Table
from shared.protocol.loader import load_protocol
from site_node.federate.book import enter
from site_node.federate.counting import count, vector_of
from site_node.federate.noise import with_noise
from site_node.federate.packing import Packed
from site_node.federate.plan_words import words_of
from site_node.federate.policy import load_policy
from site_node.federate.site import FederateSettings
from site_node.federate.statistics import LibraryCounts
from site_node.federate.tasks import Asked, Result
from site_node.home.ledger import Ledger
from site_node.home.plans import Decisions
from tests.factories.libraries import library
from tests.factories.local_fleet import FakeFleet
from tests.factories.site_homes import make_site, member_of, set_policy

PROTOCOL = load_protocol()
KEY = SigningKey.generate()
PRIVACY = CountPrivacy(epsilon=3)
TASK = StatisticsTask(
    cohort=PROTOCOL.cohort.name,
    histograms=(Histogram(variable="age", edges=(30, 50, 70)), Histogram(variable="modality")),
    tables=(Table(rows="age", columns="sex"),),
    privacy=PRIVACY,
)
DEFINITION = definition_asked(TASK, PROTOCOL.digest)
WHOLE = definition_asked(StatisticsTask(cohort=PROTOCOL.cohort.name, privacy=PRIVACY), PROTOCOL.digest)
WITH_OPENDP = pytest.mark.skipif(find_spec("opendp") is None, reason="OpenDP is not installed (extra `privacy`)")


@given(st.integers(0, 12), st.integers(0, 1000), st.sampled_from([DEFINITION, WHOLE]))
@settings(max_examples=50, deadline=None)
def test_a_patient_more_or_less_changes_as_many_counts_as_noise_is_for(
    patients: int, seed: int, definition: CohortDefinition
) -> None:
    """Whatever studies and series the patient has: by one each, and no count of anything else."""
    studies = library(SiteId("100001"), patients + 1, seed)
    without = [study for study in studies if study.patient != studies[-1].patient]
    more, less = (count(definition, each, once=True) for each in (studies, without))
    assert sum(abs(more[cell] - less[cell]) for cell in definition.cells) <= sensitivity_of(definition)


@WITH_OPENDP
def test_the_noise_costs_what_the_plan_says() -> None:
    """By the library's own account of its mechanism."""
    dp = library_named("opendp.prelude")
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T=dp.i64)), dp.l1_distance(T=dp.i64)
    made = dp.m.make_laplace(*space, scale=scale_of(DEFINITION, PRIVACY))
    assert made.map(sensitivity_of(DEFINITION)) == pytest.approx(PRIVACY.epsilon)


@WITH_OPENDP
def test_counts_leave_with_noise_only() -> None:
    """Whole numbers about the exact ones, drawn anew each time; without `privacy` they are exact."""
    studies = library(SiteId("100001"), 30)
    plan = cast("SumPlan", None)  # nothing of it is asked
    exact, noisy = (
        LibraryCounts(PROTOCOL.digest, lambda: studies, CellPolicy.named("cms-11"), None, task, 1)
        for task in (TASK.model_copy(update={"privacy": None}), TASK)
    )
    assert (exact.vector(plan) == vector_of(exact.definition, studies)).all()
    truth = count(DEFINITION, studies, once=True)
    first, second = (noisy.vector(plan).view(np.int64) for _ in range(2))
    assert len(first) == DEFINITION.length
    assert (first != second).any()
    far = 60 * scale_of(DEFINITION, PRIVACY)  # once in 10^24
    assert all(abs(number - truth[cell]) < far for cell, number in zip(DEFINITION.cells, first, strict=True))


@WITH_OPENDP
def test_the_noise_is_as_wide_as_its_scale() -> None:
    """Of many draws: the mean absolute deviation is near the scale."""
    drawn = with_noise([0] * 20_000, 10.0).view(np.int64)
    assert np.abs(drawn).mean() == pytest.approx(10, abs=1)
    assert abs(drawn.mean()) < 1


def plan_of(sites: list[FederateSettings], task: StatisticsTask = TASK) -> Plan:
    members = tuple(member_of(site) for site in sites)
    request = PlanRequest(purpose="statistics", statistics=task)
    return complete_plan(request, members=members, protocol_digest=PROTOCOL.digest)


@pytest.fixture
def sites(tmp_path: Path) -> list[FederateSettings]:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    made = [make_site(tmp_path / str(n), f"{200000 + n}", KEY, images=0) for n in range(3)]
    return [site.model_copy(update={"protocol_digest": PROTOCOL.digest}) for site in made]


def ask(site: FederateSettings, plan: Plan, stage: str = records.READY) -> str | None:
    """Ask for a stage of a statistic; returns why the site refused, or `None`."""
    config = ConfigRecord({"plan": sign_plan(plan, KEY), "stage": stage, records.PAYLOAD: b""})
    message = Message(RecordDict({"config": config}), dst_node_id=2, message_type="query")
    return FakeFleet(message).answered(site)


def charge(site: FederateSettings, plan: Plan, stage: str = "mask") -> None:
    """Enter an answer to a stage, as the executor does before it leaves."""
    with closing(Ledger(site.ledger)) as ledger:
        seen = ledger.plans.decisions()
    result = Result(Packed(b"", b"", {}), None, Asked(sign_plan(plan, KEY), stage))
    enter(site, load_policy(site.policy), "query", result, seen)


def spent(site: FederateSettings) -> dict[str, tuple[str, float]]:
    with closing(Ledger(site.ledger)) as ledger:
        return {each.run: (each.label, each.charge.epsilon * each.charge.steps) for each in ledger.plans.spent()}


@WITH_OPENDP
def test_the_budget_of_a_cohort_holds_across_runs(sites: list[FederateSettings]) -> None:
    """Two plans of 3 fit into 8, a third is refused at once and at its counts; one without noise costs nothing."""
    site, plans = sites[0], [plan_of(sites) for _ in range(3)]
    for plan in plans[:2]:
        assert ask(site, plan) is None
        charge(site, plan)
    label = f"cohort {TASK.cohort}"
    assert spent(site) == {plan.run: (label, 3.0) for plan in plans[:2]}
    refused = f"SITE_POLICY: with it the epsilon of {label} would be 9.00, and this site's budget is 8"
    assert [ask(site, plans[2]), ask(site, plans[2], "mask"), ask(site, plans[0], "mask")] == [refused] * 3
    assert ask(site, plan_of(sites, TASK.model_copy(update={"privacy": None}))) is None
    set_policy(site, epsilon=20.0)
    assert ask(site, plans[2]) is None


def test_the_stage_that_brings_the_counts_is_charged_each_time(sites: list[FederateSettings]) -> None:
    """A retry has noise of its own, and costs again; keys and shares tell nothing; exact counts are not charged."""
    plan = plan_of(sites)
    for stage in ("advertise", "share", "mask", "consistency", "unmask", "mask"):
        charge(sites[0], plan, stage)
    charge(sites[0], plan_of(sites, TASK.model_copy(update={"privacy": None})))
    assert spent(sites[0]) == {plan.run: (f"cohort {TASK.cohort}", 6.0)}


def test_what_was_judged_must_hold_when_it_is_charged(sites: list[FederateSettings]) -> None:
    """Of two that were worked on at once, the later is not answered."""
    plan = plan_of(sites)
    charge(sites[0], plan)
    result = Result(Packed(b"", b"", {}), None, Asked(sign_plan(plan, KEY), "mask"))
    with pytest.raises(RunRefused, match="answered meanwhile"):
        enter(sites[0], load_policy(sites[0].policy), "query", result, Decisions())


def test_a_person_reads_what_the_noise_is_for(sites: list[FederateSettings]) -> None:
    """With the epsilon, and that a patient counts once."""
    words = dict(words_of(plan_of(sites)))
    assert "an epsilon of 3; each patient counts once" in words["Privacy"]
    assert "Privacy" not in dict(words_of(plan_of(sites, TASK.model_copy(update={"privacy": None}))))


@pytest.mark.skipif(find_spec("opendp") is not None, reason="OpenDP is installed")
def test_without_opendp_the_reason_names_the_extra(sites: list[FederateSettings]) -> None:
    """Before any count is made, and where one would be."""
    why = ask(sites[0], plan_of(sites))
    assert why is not None
    assert "OpenDP is not installed here: pip install 'ricord-federation[privacy]'" in why
    with pytest.raises(PlanInvalid):
        with_noise([1], 1.0)
