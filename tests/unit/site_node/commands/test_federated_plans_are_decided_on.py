"""`federate pending|show|approve|decline|stop|status|history`: what a person sees and decides of federated work."""

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from shared.crypto.signing import SigningKey
from shared.errors.inputs import AmbiguousReference, InvalidArgument, NotFound
from shared.federation.histogram import Histogram
from shared.federation.plan import Member, Plan, PlanRequest, complete_plan, sign_plan
from shared.federation.privacy import Charge, epsilon_of
from shared.federation.task import Privacy, StatisticsTask, TrainingTask
from shared.ids import Sha256, SiteId
from shared.protocol.cohort import Mean, Table
from site_node.cli import app
from site_node.federate.plan_words import summary, words_of
from site_node.federate.policy import POLICY_FILE, write_default_policy
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.home.plans import PlanState, Spent
from tests.factories.pipeline import make_home

KEY = SigningKey.generate()


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    made = make_home(tmp_path / "home")
    write_default_policy(made.folder / POLICY_FILE)
    return made


def plan_of(**request: Any) -> Plan:
    members = tuple(
        Member(site_id=SiteId(f"{300000 + n}"), fingerprint=SigningKey.generate().fingerprint) for n in range(3)
    )
    return complete_plan(PlanRequest(**request), members=members, protocol_digest=Sha256("a" * 64))


def enter(home: SiteHome, plan: Plan, *, lives: timedelta = timedelta(days=1)) -> None:
    with closing(Ledger(home.ledger)) as ledger:
        label = plan.training.label if plan.training else ""
        until = datetime.now(UTC) + lives
        document = sign_plan(plan, KEY)
        ledger.plans.enter(plan.run, document, PlanState.PENDING, label=label, expires_at=until, about="a plan")


def run(home: SiteHome, *arguments: str, by: str = "A. Miller", reason: str = "") -> str:
    decides = ["--as", by, "--reason", reason] if reason else []
    result = CliRunner().invoke(app, ["--home", str(home.folder), "federate", *arguments, *decides])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_a_person_sees_what_waits_and_decides(home: SiteHome) -> None:
    """A beginning of the run's name is enough; who and why are in the audit."""
    plan, old = (
        plan_of(purpose="training", training=TrainingTask()),
        plan_of(purpose="training", training=TrainingTask()),
    )
    enter(home, plan)
    enter(home, old, lives=timedelta(days=-1))
    assert [each["run"] for each in json.loads(run(home, "pending", "--json"))] == [plan.run]
    assert plan.run in run(home, "pending")
    shown = json.loads(run(home, "show", plan.run, "--json"))
    assert shown["Label"].startswith("pneumonia")
    assert shown["Decided"] == "pending"
    assert "approved" in run(home, "approve", plan.run, reason="protocol  12")
    assert json.loads(run(home, "show", plan.run, "--json"))["Decided"] == "approved: protocol 12"
    assert json.loads(run(home, "pending", "--json")) == []
    assert "declined" in run(home, "decline", plan.run, reason="no consent")
    with closing(Ledger(home.ledger)) as ledger:
        events = [(event.actor, event.action, event.detail) for event in ledger.events()]
        decisions = ledger.plans.decisions()
    assert events[2:] == [
        ("A. Miller", "federate-approve", f"{plan.run}: protocol 12"),
        ("A. Miller", "federate-decline", f"{plan.run}: no consent"),
    ]
    assert decisions.declined == {plan.run: "no consent"}


def test_histograms_and_tables_are_said_before_they_leave(home: SiteHome) -> None:
    """Which variables, in which bins, by what they are crossed, and that only counts of these would leave, masked."""
    histograms = (Histogram(variable="age", edges=(30, 50.5)), Histogram(variable="icu"))
    task = StatisticsTask(cohort="ricord", histograms=histograms, tables=(Table(rows="age", columns="sex"),))
    plan = plan_of(purpose="statistics", statistics=task)
    enter(home, plan)
    assert summary(plan).endswith("ricord: age in bins between 30, 50.5; icu; age by sex")
    shown = json.loads(run(home, "show", plan.run, "--json"))
    assert (shown["Histograms"], shown["Tables"]) == ("age in bins between 30, 50.5; icu", "age by sex")
    assert "in the bins and categories of these, under masks" in shown["Leaves"]
    mean = task.model_copy(update={"means": (Mean(variable="age", low=18, high=90),)})
    words = dict(words_of(plan_of(purpose="statistics", statistics=mean)))
    assert words["Means"] == "age within 18 and 90"
    assert "sums of values and of their squares, under masks" in words["Leaves"]


def test_a_name_that_fits_no_plan_or_two_decides_nothing(home: SiteHome) -> None:
    """Nor does a reason that is no line: it travels in a refusal."""
    for _ in range(2):
        enter(home, plan_of(purpose="statistics", statistics=StatisticsTask(cohort="ricord")))
    with pytest.raises(NotFound):
        run(home, "approve", "R-x", reason="why")
    with pytest.raises(AmbiguousReference):
        run(home, "approve", "R-", reason="why")
    for reason in (" ", "x" * 201, "\x1b[31m"):
        with pytest.raises(InvalidArgument, match="--reason"):
            run(home, "stop", reason=reason)
    with closing(Ledger(home.ledger)) as ledger:
        assert len(ledger.events()) == 2


def test_status_says_what_waits_and_that_it_was_stopped(home: SiteHome) -> None:
    """At the verb's own and at the site's status."""
    assert "No question was answered yet" in run(home, "status")
    run(home, "stop", reason="the board meets")
    with closing(Ledger(home.ledger)) as ledger:
        assert ledger.plans.is_stopped()
    run(home, "stop", "--allow", reason="it met")
    with closing(Ledger(home.ledger)) as ledger:
        assert not ledger.plans.is_stopped()
        assert [event.action for event in ledger.events()] == ["federate-stop", "federate-allow"]


def test_a_person_reads_what_a_private_plan_would_cost(home: SiteHome) -> None:
    """Its epsilon, alone and with what was spent on the label before; without Opacus, why there is none."""
    privacy = Privacy(noise_multiplier=2.0, batches=4)
    before, plan = (plan_of(purpose="training", training=TrainingTask(privacy=privacy)) for _ in range(2))
    enter(home, plan)
    spent = Spent(run=before.run, label="pneumonia", charge=Charge(noise_multiplier=2.0, batches=4, steps=48))
    with closing(Ledger(home.ledger)) as ledger:
        ledger.plans.enter_answer(before.run, "train under masks", 1, spent)
    epsilon = json.loads(run(home, "show", plan.run, "--json"))["Epsilon"]
    if find_spec("opacus") is None:
        assert epsilon.startswith("cannot be worked out: Opacus is not installed")
        return
    whole = spent.charge
    alone, both = epsilon_of([whole]), epsilon_of([whole, whole])
    assert epsilon == f"{alone:.2f} at a delta of 1e-06; {both:.2f} with what other plans on pneumonia spent here, of 8"


def test_history_lists_what_left(home: SiteHome) -> None:
    """By run: kinds, bytes, dates, and why nothing left."""
    plan = plan_of(purpose="training", training=TrainingTask())
    enter(home, plan)
    with closing(Ledger(home.ledger)) as ledger:
        for kind, size in (("train under masks", 100), ("train under masks", 50), ("evaluate under masks", 7)):
            ledger.plans.enter_answer(plan.run, kind, size)
        ledger.plans.enter_refusal(plan.run, "SITE_POLICY: no")
        ledger.plans.enter_refusal(plan.run, "SITE_POLICY: no")
    (shown,) = json.loads(run(home, "history", "--json"))
    assert (shown["run"], shown["answers"], shown["bytes"], shown["refused"]) == (plan.run, 3, 157, "SITE_POLICY: no")
    assert shown["sent"] == "evaluate under masks 1, train under masks 2"
    words = run(home, "history")
    assert plan.run in words
    assert max(map(len, words.splitlines())) <= 80
    for whole in ("training of", "evaluate", "157 bytes", "refused:"):
        assert whole in words
