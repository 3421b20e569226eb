"""A plan's filters: whom they leave, where they are refused, and that nothing tells how few they leave."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.crypto.signing import SigningKey
from shared.errors.federation import PlanInvalid
from shared.federation.asked import definition_asked, inputs_asked
from shared.federation.cell_policy import CellPolicy
from shared.federation.cohort import subject_of
from shared.federation.filter import Filter
from shared.federation.histogram import Histogram
from shared.federation.models.registry import build_model, get_state
from shared.federation.noise import scale_of
from shared.federation.offer import offer_of
from shared.federation.plan import Plan, PlanRequest, complete_plan, sign_plan
from shared.federation.secure_sum.messages import SumPlan
from shared.federation.task import CountPrivacy, StatisticsTask, TrainingTask
from shared.ids import SiteId
from shared.protocol.loader import load_protocol
from site_node.federate.client_app import app
from site_node.federate.counting import count, part_of
from site_node.federate.plan_words import words_of
from site_node.federate.site import CONTEXT_KEY, FederateSettings
from site_node.federate.statistics import LibraryCounts
from tests.factories.libraries import library
from tests.factories.site_homes import fill_library, known_of, make_site, member_of, set_policy

PROTOCOL = load_protocol()
DEFINITION = PROTOCOL.cohort
KEY = SigningKey.generate()
SITE = SiteId("100001")
TASK = TrainingTask(image_size=32, masked=False)
WOMEN = Filter(variable="sex", categories=("female",))
NOISY = StatisticsTask(
    cohort=DEFINITION.name,
    histograms=(Histogram(variable="age"),),
    privacy=CountPrivacy(epsilon=10),
    filter=(WOMEN,),
)
FILTERABLE = [variable for variable in DEFINITION.variables if variable.unit != "series"]


@st.composite
def filters(draw: st.DrawFn) -> Filter:
    variable = draw(st.sampled_from(FILTERABLE))
    chosen = draw(st.lists(st.sampled_from(variable.labels), min_size=1, unique=True))
    return Filter(variable=variable.name, categories=tuple(chosen))


@given(filters(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_a_part_is_what_the_cohort_table_counts_of_its_categories(part: Filter, seed: int) -> None:
    """As many patients or studies as those cells have, and all studies of a patient or none."""
    studies = library(SITE, 12, seed)
    variable, left = DEFINITION.variable(part.variable), part_of((part,), PROTOCOL.digest, studies)
    counts = count(DEFINITION, studies)
    expected = sum(counts[f"{variable.name}/{category}"] for category in part.categories)
    assert len({study.patient for study in left} if variable.unit == "patients" else left) == expected
    if variable.unit == "patients":
        patients = {study.patient for study in left}
        assert left == [study for study in studies if study.patient in patients]


@given(st.lists(filters(), max_size=3, unique_by=lambda each: each.variable), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_several_filters_leave_what_each_of_them_leaves(several: list[Filter], seed: int) -> None:
    """In any order; without a filter it is everything."""
    studies = library(SITE, 12, seed)
    left = part_of(several, PROTOCOL.digest, studies)
    assert left == [s for s in studies if all(s in part_of((each,), PROTOCOL.digest, studies) for each in several)]
    assert left == part_of(several[::-1], PROTOCOL.digest, studies)


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ((Filter(variable="name", categories=("female",)),), "the cohort has no variable `name` to filter by"),
        ((Filter(variable="sex", categories=("female", "X")),), "`sex` has no category `X`"),
        ((Filter(variable="modality", categories=("CT",)),), "`modality` is of series"),
        ((WOMEN, Filter(variable="sex", categories=("male",))), "two filters are of one variable"),
    ],
)
@pytest.mark.parametrize("task", [NOISY, TrainingTask()], ids=["statistics", "training"])
def test_what_the_definition_has_not_is_refused_by_name(
    task: StatisticsTask | TrainingTask, part: tuple[Filter, ...], why: str
) -> None:
    """At the researcher and at the centre, before a site is asked, and at a site whatever came through."""
    purpose = "statistics" if isinstance(task, StatisticsTask) else "training"
    asked: dict[str, Any] = {"purpose": purpose, purpose: task.model_copy(update={"filter": part})}
    with pytest.raises(PlanInvalid) as refused:
        offer_of(PROTOCOL.digest).check(PlanRequest(**asked))
    assert why in refused.value.fields["problem"]
    with pytest.raises(PlanInvalid):
        part_of(part, PROTOCOL.digest, library(SITE, 3))


def test_exact_counts_have_no_filter() -> None:
    """The sentence says what to ask instead; with noise the plan holds."""
    with pytest.raises(PlanInvalid, match="cross the variables in `tables`, or ask for noise"):
        offer_of(PROTOCOL.digest).check(
            PlanRequest(purpose="statistics", statistics=NOISY.model_copy(update={"privacy": None}))
        )
    offer_of(PROTOCOL.digest).check(PlanRequest(purpose="statistics", statistics=NOISY))


@pytest.mark.parametrize("categories", [(), ("female", "female")])
def test_a_filter_names_categories_once(categories: tuple[str, ...]) -> None:
    """None at all, or the same twice, is no filter."""
    with pytest.raises(ValidationError):
        Filter(variable="sex", categories=categories)


def sum_plan(task: StatisticsTask) -> SumPlan:
    definition = definition_asked(task, PROTOCOL.digest)
    return SumPlan.model_construct(
        session="",
        threshold=2,
        protocol_digest=PROTOCOL.digest,
        subject=subject_of(definition),
        length=definition.length,
        inputs=inputs_asked(task, definition),
        cells="cms-11",
        roster=(),
    )


@pytest.mark.skipif(find_spec("opendp") is None, reason="OpenDP is not installed (extra `privacy`)")
def test_noisy_counts_are_of_the_part_and_nothing_says_how_small_it_is() -> None:
    """A site with enough patients answers, were there nobody in the part: a refusal would have no noise."""
    studies, nobody = library(SITE, 600), (Filter(variable="age", categories=("0-17",)), WOMEN)
    truth = count(definition_asked(NOISY, PROTOCOL.digest), part_of((WOMEN,), PROTOCOL.digest, studies), once=True)
    counts = LibraryCounts(PROTOCOL.digest, lambda: studies, CellPolicy.named("cms-11"), None, NOISY, 20)
    counts.approve(sum_plan(NOISY))
    drawn = counts.vector(sum_plan(NOISY)).view(np.int64)
    far = 60 * scale_of(counts.definition, CountPrivacy(epsilon=10))
    assert abs(drawn[0] - truth["patients"]) < far
    assert truth["patients"] + far < len({study.patient for study in studies})
    men = [study for study in studies if (study.clinical or {}).get("sex") == "M"]
    empty = NOISY.model_copy(update={"filter": nobody})
    LibraryCounts(PROTOCOL.digest, lambda: men, CellPolicy.named("cms-11"), None, empty, 20).approve(sum_plan(empty))


def test_a_sum_names_its_part() -> None:
    """So that counts of two parts are never added: a site refuses a sum of another part than its run's."""
    definition = definition_asked(NOISY, PROTOCOL.digest)
    parts = [(), (WOMEN,), (Filter(variable="sex", categories=("male",)),)]
    assert len({inputs_asked(NOISY.model_copy(update={"filter": part}), definition) for part in parts}) == 3


@pytest.fixture
def sites(tmp_path: Path) -> list[FederateSettings]:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    made = [make_site(tmp_path / str(n), f"{200000 + n}", KEY, images=24 if n == 0 else 0) for n in range(3)]
    return [site.model_copy(update={"protocol_digest": PROTOCOL.digest}) for site in made]


def training_of(sites: list[FederateSettings], *part: Filter) -> Plan:
    request = PlanRequest(purpose="training", training=TASK.model_copy(update={"filter": part}))
    return complete_plan(request, members=tuple(map(member_of, sites)), protocol_digest=PROTOCOL.digest)


def train(site: FederateSettings, plan: Plan) -> str | float:
    """Ask for a first round; returns why the site refused, or how many images it trained on."""
    config = ConfigRecord({"plan": sign_plan(plan, KEY), "server-round": 1})
    arrays = ArrayRecord({"state": Array(get_state(build_model(TASK)))})
    message = Message(RecordDict({"arrays": arrays, "config": config}), dst_node_id=2, message_type="train")
    reply = app(message, Context(1, 2, {CONTEXT_KEY: known_of(site)}, RecordDict(), {}))
    if reply.has_error():
        return str(reply.error.reason)
    return float(reply.content["metrics"]["num-examples"])


def test_a_training_of_a_part_needs_the_policy(sites: list[FederateSettings]) -> None:
    """Without `parts = true` it is refused by name; with it, the part alone is trained on, and must be large enough."""
    site, whole = sites[0], training_of(sites)
    set_policy(site, unmasked=True)
    assert train(site, training_of(sites, WOMEN)) == "SITE_POLICY: a part of the cohort (`filter`) is not allowed"
    set_policy(site, unmasked=True, parts=True)
    assert "fewer than 20 patients" in str(train(site, training_of(sites, WOMEN)))
    trained = train(site, whole)
    fill_library(site.library, SiteId("300000"), 40, sex="F")
    of_women, of_all = train(site, training_of(sites, WOMEN)), train(site, training_of(sites))
    assert isinstance(trained, float)
    assert isinstance(of_women, float)
    assert of_all == trained + of_women


def test_a_person_reads_of_which_part(sites: list[FederateSettings]) -> None:
    """In the plan's words; without a filter there is no such line."""
    ages = Filter(variable="age", categories=("18-49", "50-64"))
    assert dict(words_of(training_of(sites, WOMEN, ages)))["Only"] == "sex female; age 18-49 or 50-64"
    assert "Only" not in dict(words_of(training_of(sites)))
