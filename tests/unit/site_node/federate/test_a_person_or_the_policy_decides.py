"""A plan is answered once policy and, where the policy says so, a person allow it; all of it is in the home's audit."""

from contextlib import closing
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.crypto.signing import SigningKey
from shared.errors.federation import RunRefused
from shared.errors.inputs import NotFound
from shared.federation import records
from shared.federation.models.registry import build_model, get_state
from shared.federation.plan import Plan, PlanRequest, complete_plan, sign_plan
from shared.federation.task import TrainingTask
from shared.ids import RunId
from site_node.federate.book import enter
from site_node.federate.decisions import in_hours
from site_node.federate.packing import Packed
from site_node.federate.plan_words import words_of
from site_node.federate.policy import SitePolicy, load_policy
from site_node.federate.site import FederateSettings
from site_node.federate.tasks import Asked, Result
from site_node.home.clearing import clear_library
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.home.plans import PlanState
from site_node.home.withdrawals import Level
from tests.factories.local_fleet import FakeFleet
from tests.factories.site_homes import PROTOCOL, make_site, member_of, set_policy

KEY = SigningKey.generate()
TASK = TrainingTask(image_size=32, masked=False)
WAITS = "SITE_WAITS: a person of this site decides on it"


@pytest.fixture
def sites(tmp_path: Path) -> list[FederateSettings]:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    made = [make_site(tmp_path / str(n), f"{200000 + n}", KEY, images=8 if n == 0 else 0) for n in range(3)]
    set_policy(made[0], unmasked=True, minimum_patients=8)
    return made


def plan_for(sites: list[FederateSettings], task: TrainingTask = TASK) -> Plan:
    members = tuple(member_of(site) for site in sites)
    return complete_plan(PlanRequest(purpose="training", training=task), members=members, protocol_digest=PROTOCOL)


def ask(site: FederateSettings, plan: Plan, server_round: int = 1) -> str | None:
    """Ask for a round of training; returns why the site refused, or `None`."""
    arrays = ArrayRecord({"state": Array(get_state(build_model(TASK)))})
    config = ConfigRecord({"server-round": server_round, "plan": sign_plan(plan, KEY)})
    content = RecordDict({"arrays": arrays, "config": config})
    return FakeFleet(Message(content, dst_node_id=2, message_type="train")).answered(site)


def is_ready(site: FederateSettings, plan: Plan) -> str | None:
    """Ask whether the site takes part; returns why it does not."""
    config = ConfigRecord({"stage": records.READY, "plan": sign_plan(plan, KEY)})
    return FakeFleet(Message(RecordDict({"config": config}), dst_node_id=2, message_type="query")).answered(site)


def decide(site: FederateSettings, plan: Plan, state: PlanState) -> None:
    with closing(Ledger(site.ledger)) as ledger:
        ledger.plans.decide(plan.run, state, actor="A. Miller", reason="seen by the board")


def actions(site: FederateSettings) -> list[str]:
    with closing(Ledger(site.ledger)) as ledger:
        return [event.action for event in ledger.events()]


@pytest.mark.parametrize("policy", ["training", "always"])
def test_a_plan_waits_for_a_person_and_is_answered_once_approved(sites: list[FederateSettings], policy: str) -> None:
    """Asked again and again it waits, uses up no round, and is one entry and one event; then it is answered."""
    site, plan = sites[0], plan_for(sites)
    set_policy(site, ask=policy)
    assert [is_ready(site, plan), ask(site, plan), ask(site, plan), ask(site, plan)] == [WAITS] * 4
    assert actions(site) == ["federate-pending", "federate-refuse"]
    decide(site, plan, PlanState.APPROVED)
    assert [is_ready(site, plan), ask(site, plan)] == [None, None]
    assert actions(site)[2:] == ["federate-approve", "federate-answer"]
    assert is_ready(site, plan_for(sites)) == WAITS


def test_a_declined_plan_is_refused_with_the_reason(sites: list[FederateSettings]) -> None:
    """Also one that was approved before, and answered."""
    site, plan = sites[0], plan_for(sites)
    set_policy(site, ask="training")
    ask(site, plan)
    decide(site, plan, PlanState.APPROVED)
    assert ask(site, plan) is None
    decide(site, plan, PlanState.DECLINED)
    assert ask(site, plan, 2) == "SITE_POLICY: a person of this site declined it: seen by the board"
    with closing(Ledger(site.ledger)) as ledger, pytest.raises(NotFound):
        ledger.plans.decide(RunId("R-000000000000"), PlanState.APPROVED, actor="A. Miller", reason="x")


def test_a_plan_that_the_policy_allows_is_entered_as_such(sites: list[FederateSettings]) -> None:
    """And what left of it, by kind and bytes; a refused message is none of it."""
    site, plan = sites[0], plan_for(sites)
    assert [ask(site, plan), ask(site, plan, 2)] == [None, None]
    set_policy(site, unmasked=False)
    assert ask(site, plan, 3) == "SITE_POLICY: training without masks is not allowed"
    with closing(Ledger(site.ledger)) as ledger:
        (kept,) = ledger.plans.all()
        (answered,) = ledger.plans.history()
    assert (kept.run, kept.state, kept.label) == (plan.run, PlanState.BY_POLICY, "pneumonia")
    assert (answered.answers, answered.sent) == (2, "train without masks 2")
    assert answered.refused == "SITE_POLICY: training without masks is not allowed"
    assert answered.bytes > 2 * 4 * get_state(build_model(TASK)).size
    assert actions(site) == ["federate-policy", "federate-answer", "federate-answer", "federate-refuse"]


def test_a_stopped_site_answers_nothing(sites: list[FederateSettings]) -> None:
    """Not what is approved either, until it is allowed again; the reason does not leave."""
    site, plan = sites[0], plan_for(sites)
    assert ask(site, plan) is None
    with closing(Ledger(site.ledger)) as ledger:
        ledger.plans.stop("A. Miller", "the board meets")
    assert ask(site, plan, 2) == "SITE_POLICY: a person of this site stopped all federated work"
    with closing(Ledger(site.ledger)) as ledger:
        ledger.plans.allow("A. Miller", "it met")
    assert ask(site, plan, 2) is None
    assert actions(site)[-3:] == ["federate-refuse", "federate-allow", "federate-answer"]


@pytest.mark.parametrize("act", ["stop", "decline", "none"])
def test_what_is_decided_while_an_answer_is_made_holds_for_it(sites: list[FederateSettings], act: str) -> None:
    """Nor does an answer leave that the worker gave to no signed plan."""
    site, plan = sites[0], plan_for(sites)
    assert ask(site, plan) is None
    with closing(Ledger(site.ledger)) as ledger:
        if act == "stop":
            ledger.plans.stop("A. Miller", "now")
        elif act == "decline":
            ledger.plans.decide(plan.run, PlanState.DECLINED, actor="A. Miller", reason="no")
    document = "{}" if act == "none" else sign_plan(plan, KEY)
    made = Result(Packed(b"", b"", {"a": b"weights"}), None, Asked(document, ""))
    with pytest.raises(RunRefused):
        enter(site, load_policy(site.policy), "train", made)


def test_after_a_withdrawal_no_question_is_answered(sites: list[FederateSettings]) -> None:
    """The refusal says why, and no count."""
    site, plan = sites[0], plan_for(sites)
    assert ask(site, plan) is None
    study = next(site.library.iterdir()).name
    with closing(Ledger(site.ledger)) as ledger:
        ledger.withdrawals.enter(Level.STUDY, [study], 1)
        assert "A study was withdrawn or made anew" in str(ask(site, plan, 2))
        clear_library(SiteHome(site.library.parent), ledger)
    assert ask(site, plan, 2) == (
        "SITE_POLICY: A study was withdrawn or made anew since this site's last snapshot; questions are answered again"
        " when enough patients have changed."
    )


def test_a_label_is_learned_so_often_in_a_month(sites: list[FederateSettings]) -> None:
    """A plan that has begun goes on; another label has a count of its own, and a declined plan counts for none."""
    site, plans = sites[0], [plan_for(sites) for _ in range(3)]
    set_policy(site, plans_per_month=2)
    assert [is_ready(site, plan) for plan in plans[:2]] == [None, None]
    refused = "SITE_POLICY: this month's number of plans on that label is used up"
    assert is_ready(site, plans[2]) == refused
    assert ask(site, plans[0]) is None
    assert is_ready(site, plan_for(sites, TASK.model_copy(update={"label": "icu"}))) is None
    decide(site, plans[1], PlanState.DECLINED)
    assert is_ready(site, plans[2]) is None


def test_outside_its_hours_a_site_waits(sites: list[FederateSettings]) -> None:
    now = datetime.now().astimezone()
    later = [f"{now + timedelta(hours=hours):%H:%M}" for hours in (1, 2)]
    set_policy(sites[0], hours="-".join(later))
    plan = plan_for(sites)
    assert (
        is_ready(sites[0], plan) == f"SITE_WAITS: this site answers between {later[0]} and {later[1]} of its local time"
    )
    set_policy(sites[0], hours=f"{now - timedelta(hours=1):%H:%M}-{later[0]}")
    assert is_ready(sites[0], plan) is None


@given(begin=st.times(), end=st.times(), now=st.times())
def test_hours_may_pass_midnight(begin: time, end: time, now: time) -> None:
    """A minute is within them as counted on from their beginning, around the clock; equal ends are the whole day."""
    minutes = [each.hour * 60 + each.minute for each in (begin, end, now)]
    length = (minutes[1] - minutes[0]) % 1440 or 1440
    assert in_hours(f"{begin:%H:%M}-{end:%H:%M}", now) == ((minutes[2] - minutes[0]) % 1440 < length)


@pytest.mark.parametrize("hours", ["25:00-06:00", "18:00", "6-18", "18:60-06:00"])
def test_hours_that_are_none_are_not_read(hours: str) -> None:
    with pytest.raises(ValidationError):
        SitePolicy(hours=hours)


@pytest.mark.parametrize("masked", [True, False])
def test_a_plan_is_told_in_words(sites: list[FederateSettings], *, masked: bool) -> None:
    """What is asked, by whom, and what would leave: without masks that counts can be worked out."""
    words = dict(words_of(plan_for(sites, TASK.model_copy(update={"masked": masked}))))
    assert words["Label"].startswith("pneumonia")
    assert words["Masks"] == ("yes" if masked else "no")
    assert ("can be worked out" in words["Leaves each round"]) == (not masked)
    assert words["Who asks"] == "the coordinator's operator"
