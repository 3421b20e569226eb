"""Laws of pooling, keeping and showing a cohort, over real sites' counting and a real store."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from coordinator.cohort.pooling import Pooling, released_counts
from coordinator.cohort.released import ReleasedTable
from coordinator.cohort.releases import Release
from coordinator.cohort.rendering import footnote, grids, rows
from coordinator.cohort.service import CohortService
from coordinator.cohort.suppression import Shown
from coordinator.home.identity import Identity
from coordinator.store.interface import Store
from coordinator.store.records import Run, RunState, Site
from coordinator.store.sql import open_store
from shared.crypto.pki import make_ca
from shared.crypto.signing import SigningKey
from shared.errors.base import RicordError
from shared.errors.federation import CohortNotReady, PlanInvalid, RunFailed
from shared.errors.inputs import InvalidArgument, NotFound
from shared.federation.cell_policy import CellPolicy
from shared.federation.plan import Member, Plan, PlanRequest
from shared.federation.secure_sum.policy import SumPolicy
from shared.federation.task import StatisticsTask
from shared.ids import AgreementId, RunId, SiteId
from shared.manifest import canonical_json
from shared.protocol.cohort import CohortDefinition
from shared.protocol.loader import load_protocol
from shared.token import Addresses
from site_node.federate.counting import count
from site_node.federate.statistics import answer
from site_node.home.library import load_library
from tests.factories.libraries import library, write
from tests.factories.rows import make_run

pytestmark = pytest.mark.slow

PROTOCOL = load_protocol()
NOW = datetime(2026, 11, 1, tzinfo=UTC)
SITES = [SiteId(str(100_001 + number)) for number in range(4)]


class Hospitals:
    """Sites with libraries, as an exchange; sites in `away` do not answer."""

    def __init__(self, folder: Path, coordinator: SigningKey, patients: int) -> None:
        self.folder, self.coordinator = folder, coordinator
        self.keys = {site: SigningKey.generate() for site in SITES}
        self.studies = {site: library(site, patients) for site in SITES}
        self.away: set[SiteId] = set()
        self.seen: list[bytes] = []
        for site, studies in self.studies.items():
            write(folder / site / "library", studies)

    def __call__(self, stage: str, requests: Mapping[SiteId, bytes]) -> Mapping[SiteId, bytes]:
        """Carry one stage."""
        answers = {}
        for site in set(requests) - self.away:
            try:
                answers[site] = self.answer(stage, site, requests[site])
            except RicordError:
                continue
            self.seen.append(answers[site])
        return answers

    def answer(self, stage: str, site: SiteId, payload: bytes) -> bytes:
        """One site's answer."""
        return answer(
            stage,
            payload,
            site_id=site,
            key=self.keys[site],
            coordinator=self.coordinator.public,
            memory=self.folder / site / "memory",
            studies=partial(load_library, self.folder / site / "library"),
            policy=SumPolicy(),
            protocol_digest=PROTOCOL.digest,
            cells=CellPolicy.named("min-3"),
            roster=SITES,
        )

    def pooled(self) -> dict[str, int]:
        """The true counts of all sites together."""
        return count(PROTOCOL.cohort, [study for studies in self.studies.values() for study in studies])


@pytest.fixture
def identity() -> Identity:
    return Identity(
        federation="test",
        addresses=Addresses(enrolment="127.0.0.1:1", main="127.0.0.1:2"),
        authority=make_ca("test"),
        signing_key=SigningKey.generate(),
        protocol=PROTOCOL.named,
    )


@pytest.fixture
def hospitals(tmp_path: Path, identity: Identity) -> Hospitals:
    return Hospitals(tmp_path, identity.signing_key, 30)


@pytest.fixture
def store(tmp_path: Path, hospitals: Hospitals) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    with opened.begin() as work:
        for site, key in hospitals.keys.items():
            agreement = AgreementId(f"A-{int(site):012}")
            work.put_site(
                Site(name=f"h{site}", agreement=agreement, site_id=site, verify_key=str(key.public), recorded_at=NOW)
            )
    yield opened
    opened.close()


def plan_of(hospitals: Hospitals, *, cohort: str = "ricord", policy: str = "cms-11", sites: int = 4) -> Plan:
    members = tuple(Member(site_id=site, fingerprint=key.fingerprint) for site, key in hospitals.keys.items())
    return Plan(
        run=RunId.random(),
        purpose="statistics",
        protocol_digest=PROTOCOL.digest,
        sites=members[:sites],
        minimum_sites=3,
        statistics=StatisticsTask(cohort=cohort, policy=policy),
        created_at=NOW,
        expires_at=NOW + timedelta(days=1),
    )


class Engine:
    """Federated runs that `Pooling` executes at once."""

    def __init__(self, pooling: Pooling, hospitals: Hospitals) -> None:
        self.pooling, self.hospitals = pooling, hospitals
        self.runs: dict[str, Run] = {}

    def start_run(self, request: bytes, *, actor: str, wanted: Callable[[], bool]) -> Run:
        statistics = PlanRequest.model_validate_json(request).statistics
        assert statistics is not None
        plan = plan_of(self.hospitals, cohort=statistics.cohort, policy=statistics.policy)
        pending = Run(id=plan.run, state="pending", plan=plan, signed="", actor=actor, created_at=NOW)
        try:
            result = self.pooling(plan, self.hospitals).decode()
            self.runs[plan.run] = pending.model_copy(update={"state": "done", "result": result})
        except RicordError as error:
            self.runs[plan.run] = pending.model_copy(update={"state": "failed", "problem": error.public})
        return pending


@pytest.fixture
def engine(store: Store, identity: Identity, hospitals: Hospitals) -> Engine:
    return Engine(Pooling(store, identity), hospitals)


@pytest.fixture
def service(store: Store, engine: Engine) -> CohortService:
    return CohortService(store, engine)


def computed(service: CohortService, policy: str = "cms-11") -> ReleasedTable:
    """The table that the store holds after a run."""
    run = service.compute("ricord", policy, actor="coordinator/operator")
    return ReleasedTable.model_validate_json(service.cohort(run.id).table)


def test_a_cohort_is_the_exact_sum_with_small_cells_hidden(service: CohortService, hospitals: Hospitals) -> None:
    """Every shown count is the pooled one, no small one is shown, and the table is stored as it was returned."""
    table = computed(service)
    pooled = hospitals.pooled()
    shown = {cell: number for cell, number in table.counts.items() if number is not None}
    assert shown == {cell: pooled[cell] for cell in shown}
    assert not [cell for cell, number in shown.items() if 1 <= number <= 10]
    assert {cell.suppressed for cell in table.cells if cell.count is None} == {True}
    assert shown["patients"] == 120
    assert (table.roster_size, table.site_count) == (4, 4)
    assert service.cohorts() == [table.row()]


def test_a_released_table_names_no_site(service: CohortService) -> None:
    """Neither a SITEID nor a patient's pseudonym appears in what is released."""
    text = canonical_json(computed(service)).decode()
    assert not [site for site in SITES if site in text]


def test_a_site_that_is_away_is_not_in_the_sum(service: CohortService, hospitals: Hospitals) -> None:
    """With one of four away the table is of three, and says so."""
    hospitals.away = {SITES[2]}
    table = computed(service, "min-3")
    assert (table.roster_size, table.site_count) == (4, 3)
    patients = {study.patient for site in table_sites(hospitals) for study in hospitals.studies[site]}
    assert table.counts["patients"] == len(patients)


def table_sites(hospitals: Hospitals) -> set[SiteId]:
    return set(SITES) - hospitals.away


def test_too_few_sites_release_nothing(service: CohortService, hospitals: Hospitals, engine: Engine) -> None:
    """With two of four away nothing is stored, and the run gives the reason."""
    hospitals.away = set(SITES[:2])
    run = service.compute("ricord", "cms-11", actor="x")
    assert "2 sites take part" in engine.runs[run.id].problem
    with pytest.raises(NotFound):
        service.cohort(run.id)
    assert not service.cohorts()


def test_a_site_that_gives_wrong_shares_is_in_the_audit_log(
    service: CohortService, hospitals: Hospitals, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is made without its shares, and the log names it."""
    honest = hospitals.answer

    def lie(stage: str, site: SiteId, payload: bytes) -> bytes:
        answered = honest(stage, site, payload)
        return answered.replace(b'"seeds":{"', b'"seeds":{"100009":"00","') if site == SITES[0] else answered

    monkeypatch.setattr(hospitals, "answer", lie)
    assert computed(service).site_count == 4
    with store.read() as reading:
        named = [event for event in reading.events() if event.object == SITES[0]]
    assert [event.action for event in named] == ["secure sum goes on without what a site gave"]
    assert "shares are missing or too many" in named[0].result


@pytest.mark.parametrize("state", ["pending", "running", "stopping"])
@pytest.mark.parametrize("letters", [14, 8])
def test_a_table_that_is_being_computed_is_said_to_be(
    service: CohortService, store: Store, state: RunState, letters: int
) -> None:
    """By its id or a beginning, while its run goes on; of a training's run there is no table, ever."""
    counting = make_run(1, state).model_copy(update={"id": RunId("R-700000000001")})
    training = make_run(2, state).model_copy(update={"id": RunId("R-800000000002")})
    with store.begin() as work:
        work.put_run(counting)
        work.put_run(training)
    with pytest.raises(CohortNotReady) as caught:
        service.cohort(counting.id[:letters])
    assert (caught.value.fields, caught.value.exit_code) == ({"run": counting.id, "state": state}, 5)
    with pytest.raises(NotFound):
        service.cohort(training.id[:letters])


def test_a_table_whose_run_failed_has_its_reason(service: CohortService, store: Store) -> None:
    """Not only that there is none; of a run that is done nothing is made up."""
    with store.begin() as work:
        work.put_run(make_run(1, "failed"))
        work.put_run(make_run(3, "done"))
    with pytest.raises(RunFailed, match="it was stopped"):
        service.cohort(make_run(1).id)
    with pytest.raises(NotFound):
        service.cohort(make_run(3).id)


def test_what_does_not_exist_is_refused(service: CohortService, engine: Engine, hospitals: Hospitals) -> None:
    """Another cohort, policy, table, site or a roster too small for a sum."""
    with pytest.raises(InvalidArgument):
        service.compute("ricord", "show-all", actor="x")
    assert engine.runs[service.compute("another", "cms-11", actor="x").id].state == "failed"
    with pytest.raises(NotFound):
        service.cohort("R-000000000000")
    with pytest.raises(NotFound):
        service.compute("ricord", "cms-11", ["No such hospital"], actor="x")
    with pytest.raises(PlanInvalid):
        engine.pooling(plan_of(hospitals, sites=2), hospitals)


def alone(counts: Mapping[str, int], policy: CellPolicy) -> Mapping[str, int | None]:
    """What is shown of a first table."""
    return released_counts(PROTOCOL.cohort, Release(frozenset(SITES[:1]), counts, policy, {}), [], seed=b"")


def test_asking_again_shows_no_more(service: CohortService) -> None:
    """No policy shows a cell that was hidden before, while the counts are the same."""
    first = computed(service)
    for policy in ("min-3", "nhs-7-round-5", "cms-11"):
        table = computed(service, policy)
        assert {cell for cell, shown in first.counts.items() if shown is None} <= {
            cell for cell, shown in table.counts.items() if shown is None
        }


def test_what_was_shown_before_is_reckoned_with(service: CohortService, engine: Engine) -> None:
    """After a table that showed small counts, no table whose policy would hide them pretends to."""
    computed(service, "min-3")
    run = service.compute("ricord", "min-20", actor="x")
    assert "beside earlier tables" in engine.runs[run.id].problem
    assert len(service.cohorts()) == 1


def test_another_definition_under_the_same_name_is_refused(service: CohortService, engine: Engine) -> None:
    """A variable of one name counts the same; what a definition says of its cells may change, and it may count less."""
    table = computed(service)
    counts = {cell: count or 0 for cell, count in engine.hospitals.pooled().items()}
    new = Release(frozenset(SITES), counts, CellPolicy.named("cms-11"), {})
    stated = PROTOCOL.cohort.model_copy(update={"zero": (), "edition": "another"})
    earlier, seed = engine.pooling._released(stated)
    assert released_counts(stated, new, earlier, seed=seed)["patients"] == table.counts["patients"]
    fewer = PROTOCOL.cohort.having(PROTOCOL.cohort.variables[:2], ())
    kept = new._replace(counts={cell: counts[cell] for cell in fewer.cells})
    assert released_counts(fewer, kept, earlier, seed=seed, protocol=PROTOCOL.cohort).keys() == {*fewer.cells}
    age, *others = PROTOCOL.cohort.variables
    another = age.model_copy(update={"categories": (*age.categories[1:], age.categories[0])})
    changed = PROTOCOL.cohort.model_copy(update={"variables": (another, *others)})
    with pytest.raises(RunFailed) as caught:
        released_counts(changed, new, earlier, seed=seed)
    assert "count otherwise" in caught.value.public


def test_tables_released_side_by_side_are_protected_together(
    service: CohortService, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that is released while another is worked out is reckoned with before the other is stored."""
    reckoned: list[int] = []

    def meanwhile(
        definition: CohortDefinition, new: Release, earlier: Sequence[Release], *, seed: bytes, protocol: object
    ) -> Shown:
        reckoned.append(len(earlier))
        if len(reckoned) == 1:
            computed(service)
        assert protocol == PROTOCOL.cohort
        return released_counts(definition, new, earlier, seed=seed)

    monkeypatch.setattr("coordinator.cohort.pooling.released_counts", meanwhile)
    computed(service)
    assert reckoned == [0, 0, 1]
    with store.read() as reading:
        assert len({pooled.seed for pooled in reading.pooled_counts("ricord")[:1]}) == 1


def test_numbers_that_cannot_be_counts_are_not_released() -> None:
    """A vector in which the parts do not add up to the total ends the run."""
    counts = count(PROTOCOL.cohort, library(SITES[0], 20))
    with pytest.raises(RunFailed):
        alone(counts | {"age/65+": counts["age/65+"] + 2**40}, CellPolicy.named("cms-11"))


def test_no_count_is_below_nought() -> None:
    """Though the parts add up to the total, as they may where a site lies."""
    counts, definition = count(PROTOCOL.cohort, library(SITES[0], 20)), PROTOCOL.cohort
    crossed = {name for table in definition.tables for name in (table.rows, table.columns)}
    first, second, *_ = next(each for each in definition.variables if each.name not in crossed).cells
    lied = counts | {first: -1, second: counts[first] + counts[second] + 1}
    with pytest.raises(RunFailed):
        alone(lied, CellPolicy.named("cms-11"))


@pytest.mark.parametrize("name", ["cms-11", "nhs-7-round-5", "min-5"])
@pytest.mark.parametrize("patients", [0, 2, 12, 200])
def test_cohorts_of_any_size_can_be_released(name: str, patients: int) -> None:
    """From nobody to hundreds: no small count is shown, others as the policy rounds them."""
    policy, counts = CellPolicy.named(name), count(PROTOCOL.cohort, library(SITES[0], patients))
    released = alone(counts, policy)
    for cell, shown in released.items():
        assert shown is None or (shown == policy.shown(counts[cell]) and not policy.is_small(counts[cell]))
    if patients == 200:
        assert released["patients"] is not None


def test_rendering_shows_what_was_released_and_no_more(service: CohortService) -> None:
    """Hidden cells are stars, shares appear only where both numbers are shown, ranges leave out the outermost."""
    table = computed(service)
    shown = rows(table)
    assert [row.shown for row in shown if row.figure == "patients"] == ["120"]
    assert all(row.share == "" for row in shown if row.shown == "*")
    assert any(row.shown == "*" for row in shown)
    assert len(rows(table, empty=True)) > len(shown)
    assert [grid.title for grid in grids(table)] == ["Sex by age (years)", "COVID-19 status by method"]
    assert all(len(row) == len(grid.columns) + 1 for grid in grids(table) for row in grid.rows)
    assert "4 of 4 sites" in footnote(table)


def test_policies_by_name() -> None:
    """The named policies hide and round as their sources say."""
    cms, nhs = CellPolicy.named("cms-11"), CellPolicy.named("nhs-7-round-5")
    assert [cms.is_small(count) for count in (0, 1, 10, 11)] == [False, True, True, False]
    assert [nhs.is_small(count) for count in (0, 1, 7, 8)] == [False, True, True, False]
    assert [nhs.shown(count) for count in (0, 8, 12, 13, 17, 18)] == [0, 10, 10, 15, 15, 20]
    for policy in (cms, nhs):
        for number in (0, *range(policy.highest + 1, 60)):
            low, high = policy.range_of(policy.shown(number))
            assert low <= number <= high
            assert {policy.shown(candidate) for candidate in range(low, high + 1)} == {policy.shown(number)}
    for wrong in ("min-1", "min-k", "", "cms"):
        with pytest.raises(InvalidArgument):
            CellPolicy.named(wrong)
