"""A plan that is tried under Flower's simulation comes to the numbers of the run over the same libraries."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from coordinator.cohort.pooling import counts_of, sum_plan_of
from coordinator.cohort.released import ReleasedTable
from coordinator.cohort.survival import survival_of
from coordinator.federation.grid import GridExchange, RosterGrid
from coordinator.federation.results import TrainingResult
from coordinator.federation.training import run_training
from coordinator.research.plans import read_plan
from coordinator.research.simulation import Simulation, simulated
from shared.crypto.signing import SigningKey
from shared.errors.federation import PlanInvalid, RunFailed
from shared.errors.inputs import SourceMissing
from shared.federation.asked import definition_asked
from shared.federation.cell_policy import CellPolicy
from shared.federation.plan import PlanRequest, complete_plan, sign_plan
from shared.federation.secure_sum.server import sum_without_liars
from shared.federation.task import StatisticsTask, TrainingTask
from shared.ids import Sha256, SiteId
from shared.protocol.loader import load_protocol
from site_node.federate.counting import count, part_of
from site_node.federate.site import FederateSettings
from site_node.home.library import LibraryStudy, load_library
from tests.factories.libraries import library, write
from tests.factories.local_grid import LocalGrid
from tests.factories.site_homes import PROTOCOL, make_site, member_of, set_policy, signer_for

pytestmark = pytest.mark.slow

KEY = SigningKey.generate()
TASK = TrainingTask(image_size=32, rounds=2, local_epochs=1, learning_rate=0.003, minimum_cases=1, validation_share=0.3)
REQUEST = PlanRequest(purpose="training", training=TASK)
README = Path(__file__).parents[4] / "coordinator" / "research" / "README.md"


@pytest.fixture
def sites(tmp_path: Path) -> list[FederateSettings]:
    made = [make_site(tmp_path / str(place), f"{200_000 + place}", KEY, images=24) for place in range(3)]
    for site in made:
        set_policy(site, minimum_cases=1)
    return made


def simulation(
    sites: list[FederateSettings], request: PlanRequest = REQUEST, protocol_digest: Sha256 = PROTOCOL
) -> Simulation:
    return Simulation(
        request=request,
        protocol_digest=protocol_digest,
        sites={site.site_id: site.library.parent for site in sites},
        policy=sites[0].policy,
        folder=sites[0].folder.parent.parent / "tried",
    )


def test_training_comes_to_the_same_model(sites: list[FederateSettings], tmp_path: Path) -> None:
    """The same model, bit for bit, the same figures, round by round, and the same refusals."""
    sites.append(make_site(tmp_path / "small", "200003", KEY, images=19))
    plan = complete_plan(REQUEST, members=tuple(map(member_of, sites)), protocol_digest=PROTOCOL)
    nodes = {site.site_id: number for number, site in enumerate(sites, start=10)}
    local = LocalGrid(dict(zip(nodes.values(), sites, strict=True)))
    grid = RosterGrid(local, plan, sign_plan(plan, KEY), lambda: nodes, signer_for(KEY, sites))
    deployed = run_training(grid, tmp_path / "deployed")
    tried = TrainingResult.model_validate(simulated(simulation(sites)).result)
    assert timeless(tried) == timeless(deployed)
    assert tried.model_sha256 is not None
    assert len(tried.rounds) == TASK.rounds
    assert {refusal.site_id for refusal in tried.refusals} == {"200003"}


def timeless(result: TrainingResult) -> TrainingResult:
    """The result without what a clock measured."""
    rounds = tuple(each.model_copy(update={"seconds": None}) for each in result.rounds)
    return result.model_copy(update={"rounds": rounds})


def test_a_table_counts_the_libraries(sites: list[FederateSettings]) -> None:
    """Every shown cell is the sum of the libraries' counts, or hidden."""
    protocol = load_protocol()
    request = PlanRequest(purpose="statistics", statistics=StatisticsTask(cohort=protocol.cohort.name))
    table = ReleasedTable.model_validate(simulated(simulation(sites, request, protocol.digest)).result)
    counts = [count(protocol.cohort, load_library(site.library)) for site in sites]
    assert table.site_count == len(sites)
    assert table.counts["patients"] == 72
    assert all(shown in (None, sum(each[cell] for each in counts)) for cell, shown in table.counts.items())


@pytest.mark.parametrize("number", [0, 1, 2])
def test_histograms_and_tables_come_to_the_same(sites: list[FederateSettings], tmp_path: Path, number: int) -> None:
    """Of each of the README's plans, a simulation shows the sums of a run over the same sites."""
    protocol = load_protocol()
    text = README.read_text(encoding="utf-8").partition("### Count")[2].split("```toml\n")[1 + number]
    (tmp_path / "plan.toml").write_text(text.partition("```")[0])
    request = read_plan(tmp_path / "plan.toml")
    task = request.statistics
    assert task is not None
    for place, site in enumerate(sites):
        write(site.library, [with_stay(study) for study in library(site.site_id, 60)])
        sites[place] = site.model_copy(update={"protocol_digest": protocol.digest})
    plan = complete_plan(request, members=tuple(map(member_of, sites)), protocol_digest=protocol.digest)
    nodes = {site.site_id: number for number, site in enumerate(sites, start=10)}
    local, signer = LocalGrid(dict(zip(nodes.values(), sites, strict=True))), signer_for(KEY, sites)
    grid = RosterGrid(local, plan, sign_plan(plan, KEY), lambda: nodes, signer)
    definition, policy = definition_asked(task, protocol.digest), CellPolicy.named(task.policy)
    deployed = sum_without_liars(sum_plan_of(plan, definition, policy, signer.peers), KEY, GridExchange(grid))
    counts, sums = counts_of(definition, deployed)
    tried = ReleasedTable.model_validate(simulated(simulation(sites, request, protocol.digest)).result)
    assert tried.definition == definition
    assert all(shown in (None, counts[cell]) for cell, shown in tried.counts.items())
    assert tried.counts["patients"] == counts["patients"] > 120
    assert bool(survival_of(tried)) == (number == 1)
    assert len(tried.means) == len(sums) // 2 == (number == 2)
    for mean in tried.means:
        assert mean.mean is None or 18 <= mean.mean <= 90


@pytest.mark.skipif(find_spec("opendp") is None, reason="OpenDP is not installed (extra `privacy`)")
@pytest.mark.parametrize("number", [4, 5], ids=["all", "a part"])
def test_noisy_counts_are_near_the_exact_ones(sites: list[FederateSettings], tmp_path: Path, number: int) -> None:
    """Of the README's plans with privacy, of all or of a part; what is hidden, and the interval, come with it."""
    protocol = load_protocol()
    text = README.read_text(encoding="utf-8").partition("### Count")[2].split("```toml\n")[number]
    (tmp_path / "plan.toml").write_text(text.partition("```")[0])
    for site in sites:
        write(site.library, library(site.site_id, 200))
    request = read_plan(tmp_path / "plan.toml")
    table = ReleasedTable.model_validate(simulated(simulation(sites, request, protocol.digest)).result)
    assert table.noise is not None
    assert request.statistics is not None
    filters = request.statistics.filter
    assert bool(filters) == (number == 5)
    parts = [part_of(filters, protocol.digest, load_library(site.library)) for site in sites]
    truth = [count(table.definition, part, once=True) for part in parts]
    shown = {cell: number for cell, number in table.counts.items() if number is not None}
    assert "patients" in shown
    assert not {"studies", "series", "images"} & set(shown)
    assert all(
        abs(number - sum(each[cell] for each in truth)) < 20 * table.noise.within for cell, number in shown.items()
    )


def with_stay(study: LibraryStudy) -> LibraryStudy:
    """The study with how its patient's stay went, which follows from its date."""
    day = int(study.study_date)
    days = {"admission_date": "2020-03-01", "discharge_date": f"2020-03-{1 + day % 31:02}"}
    stay = days | {
        "icu": ("yes", "no")[day % 2],
        "outcome": ("died", "discharged")[day % 3 > 0],
        "crp": float(day % 97),
    }
    return study.model_copy(update={"clinical": (study.clinical or {}) | stay})


@pytest.mark.soak
def test_a_simulated_hospital_refuses_what_its_policy_does(sites: list[FederateSettings]) -> None:
    """The reasons of the sites come back by name."""
    request = REQUEST.model_copy(update={"training": TASK.model_copy(update={"masked": False})})
    with pytest.raises(RunFailed, match="200001: SITE_POLICY: training without masks is not allowed"):
        simulated(simulation(sites, request))


def test_too_little_is_said_before_anything_starts(sites: list[FederateSettings], tmp_path: Path) -> None:
    """A folder that is not there, and too few of them."""
    whole = simulation(sites)
    with pytest.raises(SourceMissing):
        simulated(whole.model_copy(update={"sites": {**whole.sites, SiteId("200009"): tmp_path / "nothing"}}))
    with pytest.raises(PlanInvalid, match="2 folders are fewer"):
        simulated(simulation(sites[1:]))
