"""A histogram over images: each patient's median density of aerated lung, in the bins of a plan, under the same sum."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.cohort.pooling import counts_of, released_counts, sum_plan_of
from coordinator.cohort.releases import Release
from coordinator.federation.grid import GridExchange, RosterGrid
from shared.crypto.signing import SigningKey
from shared.errors.federation import PlanInvalid, RunRefused
from shared.federation.asked import AERATED, DENSITY, definition_asked
from shared.federation.cell_policy import CellPolicy
from shared.federation.histogram import Histogram
from shared.federation.plan import Plan, PlanRequest, complete_plan, sign_plan
from shared.federation.secure_sum.server import sum_without_liars
from shared.federation.task import StatisticsTask
from shared.protocol.loader import load_protocol
from site_node.federate.counting import count
from site_node.federate.density import density_of, with_densities
from site_node.federate.site import FederateSettings
from site_node.federate.statistics import check_enough
from site_node.home.library import load_library
from tests.factories.ct import add_ct
from tests.factories.local_grid import LocalGrid
from tests.factories.site_homes import make_site, member_of, set_policy, signer_for

KEY = SigningKey.generate()
PROTOCOL = load_protocol()
TASK = StatisticsTask(cohort=PROTOCOL.cohort.name, histograms=(Histogram(variable=DENSITY, edges=(-850, -700, -500)),))
DEFINITION = definition_asked(TASK, PROTOCOL.digest)
NAME = DEFINITION.variables[0].name


def windowed(*units: float) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    """A slice of these Hounsfield units as it is kept, from -1 to 1."""
    return np.clip((np.array([[units]], np.float32) + 600) / 750, -1, 1).astype(np.float32)


@given(st.lists(st.integers(-3000, 3000), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_only_aerated_lung_counts(units: list[int]) -> None:
    """The median of the pixels from -950 to -100 HU, whatever lies around them; nothing where there is none."""
    inside = [each for each in units if AERATED[0] < each < AERATED[1]]
    outside = [each for each in units if not AERATED[0] - 1 <= each <= AERATED[1] + 1]
    density = density_of(windowed(*inside, *outside))
    if not inside:
        assert density is None
    else:
        assert density == pytest.approx(np.median(inside), abs=0.01)
        assert density == density_of(windowed(*inside))


@pytest.fixture
def library(tmp_path: Path) -> Path:
    (tmp_path / "library").mkdir()
    return tmp_path / "library"


def counted(library: Path) -> dict[str, int]:
    counts = count(DEFINITION, with_densities(library, load_library(library)))
    return {
        cell.removeprefix(f"{NAME}/"): number for cell, number in counts.items() if cell.startswith(NAME) and number
    }


def test_each_patient_is_in_one_bin(library: Path) -> None:
    """By rescaled units; one without aerated lung is not recorded, and neither is a broken file."""
    for number, units in enumerate((-900, -800, -600, -600, 40)):
        add_ct(library, number, [units, -1020, units])
    expected = {"under -850": 1, "-850 to under -700": 1, "-700 to under -500": 2, "not recorded": 1}
    assert counted(library) == expected
    assert any(library.parent.rglob("decoded/128-16/*.npy"))
    assert counted(library) == expected  # from the images that were kept
    study = load_library(library)[0]
    for instance in study.instances:
        (library / study.study / instance.file).write_bytes(b"no DICOM")
    for kept in library.parent.rglob("decoded/128-16/*.npy"):
        kept.unlink()
    assert counted(library)["not recorded"] == 2


def test_the_edges_lie_in_aerated_lung_and_there_are_no_categories() -> None:
    """By a sentence each."""
    for edges, problem in (
        ((-960.0,), "above -950 and up to -100"),
        ((-50.0,), "up to -100"),
        ((), "name the `edges`"),
    ):
        task = TASK.model_copy(update={"histograms": (Histogram(variable=DENSITY, edges=edges),)})
        with pytest.raises(PlanInvalid, match=problem):
            definition_asked(task, PROTOCOL.digest)


def test_films_have_no_density(tmp_path: Path) -> None:
    """A site of radiographs alone says so, before any count is made."""
    site = make_site(tmp_path / "films", "200000", KEY, images=24)
    counts = count(DEFINITION, with_densities(site.library, load_library(site.library)))
    with pytest.raises(RunRefused, match="nothing in the library here has a value of `lung_density`"):
        check_enough(DEFINITION, counts, 20)


@pytest.fixture
def sites(tmp_path: Path) -> list[FederateSettings]:
    made = [make_site(tmp_path / str(n), f"{200000 + n}", KEY, images=0) for n in range(3)]
    for place, site in enumerate(made):
        set_policy(site, minimum_patients=8)
        for number in range(8):
            add_ct(site.library, number, [-900 if number < 7 - place else -600], site=site.site_id)
    return [site.model_copy(update={"protocol_digest": PROTOCOL.digest}) for site in made]


def plan_of(sites: list[FederateSettings]) -> Plan:
    members = tuple(map(member_of, sites))
    return complete_plan(
        PlanRequest(purpose="statistics", statistics=TASK), members=members, protocol_digest=PROTOCOL.digest
    )


@pytest.mark.slow
def test_it_is_pooled_and_hidden_like_every_histogram(sites: list[FederateSettings]) -> None:
    """Over three sites' real apps: the sum of their bins, and small ones hidden."""
    plan, signer = plan_of(sites), signer_for(KEY, sites)
    nodes = {site.site_id: number for number, site in enumerate(sites, start=10)}
    local = LocalGrid(dict(zip(nodes.values(), sites, strict=True)))
    grid = RosterGrid(local, plan, sign_plan(plan, KEY), lambda: nodes, signer)
    policy = CellPolicy.named("cms-11")
    pooled = sum_without_liars(sum_plan_of(plan, DEFINITION, policy, signer.peers), KEY, GridExchange(grid))
    counts, _ = counts_of(DEFINITION, pooled)
    assert {cell: number for cell, number in counts.items() if cell.startswith(NAME) and number} == {
        f"{NAME}/under -850": 18,
        f"{NAME}/-700 to under -500": 6,
    }
    new = Release(frozenset(site.site_id for site in sites), counts, policy, {})
    release = partial(released_counts, DEFINITION, new, [], protocol=PROTOCOL.cohort)
    assert release(seed=b"a seed")[f"{NAME}/-700 to under -500"] is None
