"""Laws of a site's counting."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.cohort.relations import complete, relations_of
from shared.crypto.signing import SigningKey
from shared.errors.federation import RunRefused, SecureSumRefused
from shared.errors.inputs import InvalidArgument
from shared.errors.protocol import ProtocolMismatch
from shared.federation.asked import SCALE, definition_asked
from shared.federation.cell_policy import CellPolicy
from shared.federation.cohort import definition_of, subject_of
from shared.federation.histogram import Histogram
from shared.federation.secure_sum.messages import Peer, SignedPlan, SumPlan
from shared.federation.secure_sum.policy import SumPolicy
from shared.federation.task import StatisticsTask
from shared.ids import Sha256, SiteId
from shared.manifest import canonical_json
from shared.protocol.cohort import Mean, Table
from shared.protocol.loader import load_protocol
from site_node.federate.counting import count, vector_of
from site_node.federate.statistics import answer
from site_node.home.library import LibraryStudy
from tests.factories.libraries import library, study

PROTOCOL = load_protocol()
DEFINITION = PROTOCOL.cohort
SITES = [SiteId("100001"), SiteId("100002"), SiteId("100003")]


def test_one_patient_is_counted_as_the_definition_says() -> None:
    """A patient with two studies is one patient, counted by the first recorded age, with the days between."""
    studies = [
        study("1", "100001-000001", date="20200310", clinical={"age": 64, "sex": "F", "covid_status": "positive"}),
        study(
            "2", "100001-000001", date="20200301", series=[("CT", 80, "TOSHIBA_MEC", 5.0)] * 2, clinical={"sex": " "}
        ),
    ]
    counts = {cell: number for cell, number in count(DEFINITION, studies).items() if number}
    unfilled = {f"filled*{field}/not recorded": 2 for field in DEFINITION.filled}
    assert counts == unfilled | {
        "patients": 1,
        "studies": 2,
        "series": 3,
        "images": 161,
        "age/50-64": 1,
        "sex/female": 1,
        "sex*age/female/50-64": 1,
        "studies_per_patient/2": 1,
        "days_between/8-30": 1,
        "covid_status/positive": 1,
        "covid_status/not recorded": 1,
        "covid_method/not recorded": 2,
        "covid_status*covid_method/positive/not recorded": 1,
        "covid_status*covid_method/not recorded/not recorded": 1,
        "finding/not recorded": 2,
        "modality/CT": 2,
        "modality/DX": 1,
        "manufacturer/Canon": 2,
        "manufacturer/Philips": 1,
        "slice_thickness/2.5 to 5": 2,
    }


@given(st.integers(0, 40), st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_every_count_fits_the_definitions_relations(patients: int, seed: int) -> None:
    """Whatever a library holds, its counts add up exactly as the centre assumes when it hides cells."""
    counts = count(DEFINITION, library(SITES[0], patients, seed))
    everything = complete(DEFINITION, counts)
    assert min(everything.values()) >= 0
    assert all(relation.holds(everything) for relation in relations_of(DEFINITION))


def test_the_vector_follows_the_definitions_order() -> None:
    """One word for each cell, in order; an empty library is all zeros."""
    studies = library(SITES[0], 10)
    counts = count(DEFINITION, studies)
    assert vector_of(DEFINITION, studies).tolist() == [counts[cell] for cell in DEFINITION.cells]
    assert not vector_of(DEFINITION, []).any()


@pytest.fixture
def keys() -> dict[SiteId, SigningKey]:
    return {site: SigningKey.generate() for site in SITES}


def ask(
    tmp_path: Path,
    keys: dict[SiteId, SigningKey],
    *,
    roster: list[SiteId] | None = None,
    weakest: str = "cms-11",
    task: StatisticsTask | None = None,
    studies: Sequence[LibraryStudy] = (),
    **changes: Any,
) -> bytes:
    """The first site's answer to a plan with `changes`."""
    coordinator = SigningKey.generate()
    fields = {
        "session": "ab" * 16,
        "subject": subject_of(DEFINITION),
        "protocol_digest": PROTOCOL.digest,
        "length": len(DEFINITION.cells),
        "roster": tuple(Peer(site_id=site, verify_key=str(key.public)) for site, key in keys.items()),
        "threshold": 3,
        "cells": "cms-11",
    }
    plan = SignedPlan.of(SumPlan.model_validate(fields | changes), coordinator)
    return answer(
        "advertise",
        canonical_json(plan),
        site_id=SITES[0],
        key=keys[SITES[0]],
        coordinator=coordinator.public,
        memory=tmp_path / "memory",
        studies=lambda: studies,
        policy=SumPolicy(),
        protocol_digest=PROTOCOL.digest,
        cells=CellPolicy.named(weakest),
        roster=roster,
        task=task,
        minimum_patients=20,
    )


def parts(*histograms: Histogram) -> tuple[StatisticsTask, dict[str, Any]]:
    """A task that names histograms, and what its sum's plan says."""
    task = StatisticsTask(cohort="ricord", histograms=histograms)
    asked = definition_asked(task, PROTOCOL.digest)
    return task, {"length": len(asked.cells), "inputs": asked.digest}


def test_a_site_counts_what_the_run_names_only(tmp_path: Path, keys: dict[SiteId, SigningKey]) -> None:
    """A sum of other bins than the run's plan, of which a lying centre could tell a site by itself, is refused."""
    task, fields = parts(Histogram(variable="age", edges=(40,)))
    _, others = parts(Histogram(variable="age", edges=(50,)))
    held = library(SITES[0], 30)
    for wrong in (others, fields | {"inputs": ""}, {}):
        with pytest.raises(RunRefused, match=r"other histograms|not of this"):
            ask(tmp_path, keys, task=task, studies=held, **wrong)
    with pytest.raises(RunRefused, match="other histograms"):
        ask(tmp_path, keys, inputs=fields["inputs"])
    assert not (tmp_path / "memory" / "sessions").exists()
    assert ask(tmp_path, keys, task=task, studies=held, **fields)


def test_a_site_without_enough_says_why(tmp_path: Path, keys: dict[SiteId, SigningKey]) -> None:
    """Too few patients, or a variable that nobody here has; of the whole cohort's table neither is asked."""
    task, fields = parts(Histogram(variable="age", edges=(40,)))
    with pytest.raises(RunRefused, match="fewer than 20 patients"):
        ask(tmp_path, keys, task=task, studies=library(SITES[0], 19), **fields)
    task, fields = parts(Histogram(variable="age", edges=(40,)), Histogram(variable="crp", edges=(10,)))
    with pytest.raises(RunRefused, match="has a value of `crp`"):
        ask(tmp_path, keys, task=task, studies=library(SITES[0], 30), **fields)
    assert not (tmp_path / "memory" / "sessions").exists()


def test_a_mean_is_summed_within_its_bounds() -> None:
    """Each recorded value counts as a share of the bounds, one beyond them as the bound; no other value counts."""
    histogram, mean = Histogram(variable="age", edges=(40,)), Mean(variable="age", low=20, high=60)
    definition = definition_asked(
        StatisticsTask(cohort="ricord", histograms=(histogram,), means=(mean,)), PROTOCOL.digest
    )
    ages = (20, 30, 60, 85, 18, None)
    studies = [study(str(place), f"100001-{place:06}", clinical={"age": age}) for place, age in enumerate(ages)]
    again = study("9", "100001-000003", date="20200401", clinical={"age": 20})
    shares = (0, 0.25, 1, 1, 0)
    words = vector_of(definition, [*studies, again]).tolist()
    assert len(words) == definition.length
    assert words[-2:] == [round(sum(share**power for share in shares) * SCALE) for power in (1, 2)]
    thickness = StatisticsTask(
        cohort="ricord",
        histograms=(Histogram(variable="slice_thickness"),),
        means=(Mean(variable="slice_thickness", low=0, high=10),),
    )
    series = [study("1", "100001-000001", series=[("CT", 9, "", 5.0), ("CT", 9, "", None), ("DX", 1, "", 5.0)])]
    assert vector_of(definition_asked(thickness, PROTOCOL.digest), series).tolist()[-2:] == [SCALE // 2, SCALE // 4]


@given(st.integers(0, 40), st.integers(0, 1000), st.lists(st.integers(1, 90), min_size=1, max_size=5, unique=True))
@settings(max_examples=30, deadline=None)
def test_bins_are_counted_beside_the_cohorts_own(patients: int, seed: int, edges: list[int]) -> None:
    """Any bins of age and their table with sex fit the relations by which the centre hides cells."""
    asked = StatisticsTask(
        cohort="ricord",
        histograms=(Histogram(variable="age", edges=tuple(sorted(edges))), Histogram(variable="age")),
        tables=(Table(rows="age", columns="sex"),),
    )
    definition, studies = definition_asked(asked, PROTOCOL.digest), library(SITES[0], patients, seed)
    everything = complete(definition, count(definition, studies))
    assert min(everything.values()) >= 0
    assert all(relation.holds(everything) for relation in relations_of(definition))
    whole = count(DEFINITION, studies)
    assert all(everything[cell] == whole[cell] for cell in set(definition.cells) & set(whole))


@pytest.mark.parametrize(
    ("admitted", "discharged", "label"),
    [
        ("2020-02-27", "2020-03-02", "under 5"),
        ("2020-02-27", "2020-03-03", "5 and over"),
        ("2020-03-01", "2020-03-01", "under 5"),
        ("2020-03-02", "2020-03-01", "not recorded"),
        ("2020-03-01", None, "not recorded"),
        (None, "2020-03-01", "not recorded"),
        ("March", "2020-03-01", "not recorded"),
    ],
)
def test_a_stay_is_counted_in_days(admitted: str | None, discharged: str | None, label: str) -> None:
    """From the day of admission to that of discharge; without either, or the wrong way round, it is not recorded."""
    task, _ = parts(Histogram(variable="stay", edges=(5,)))
    definition = definition_asked(task, PROTOCOL.digest)
    row = study("1", "100001-000001", clinical={"admission_date": admitted, "discharge_date": discharged})
    counts = count(definition, [row])
    assert {cell for cell in definition.variables[0].cells if counts[cell]} == {
        f"{definition.variables[0].name}/{label}"
    }


def test_a_site_takes_part_in_this_protocols_cohort_only(tmp_path: Path, keys: dict[SiteId, SigningKey]) -> None:
    """Another subject, length, protocol or roster is refused before any key is made; the right one is answered."""
    with pytest.raises(RunRefused):
        ask(tmp_path, keys, subject="cohort:another")
    with pytest.raises(RunRefused):
        ask(tmp_path, keys, length=7)
    with pytest.raises(RunRefused):
        ask(tmp_path, keys, roster=SITES[:2])
    with pytest.raises(ProtocolMismatch):
        ask(tmp_path, keys, protocol_digest=Sha256("f" * 64))
    assert not (tmp_path / "memory" / "sessions").exists()
    assert ask(tmp_path, keys, roster=SITES)
    with pytest.raises(SecureSumRefused):
        ask(tmp_path, keys, roster=SITES)


def test_an_unknown_protocol_has_no_cohort() -> None:
    """The digest alone finds the definition; an unknown one names what is held."""
    assert definition_of(PROTOCOL.digest) == DEFINITION
    with pytest.raises(ProtocolMismatch):
        definition_of(Sha256("f" * 64))


@pytest.mark.parametrize(
    ("weakest", "offered", "enough"),
    [
        ("cms-11", "cms-11", True),
        ("cms-11", "min-20", True),
        ("min-5", "cms-11", True),
        ("min-5", "nhs-7-round-5", True),
        ("cms-11", "min-2", False),
        ("cms-11", "nhs-7-round-5", False),
        ("nhs-7-round-5", "cms-11", False),
        ("cms-11", "show-all", False),
        ("cms-11", "", False),
    ],
)
def test_a_site_refuses_a_table_that_hides_less_than_it_asks(
    tmp_path: Path, keys: dict[SiteId, SigningKey], weakest: str, offered: str, enough: bool
) -> None:
    """The policy stands in the signed plan; a weaker one, an unknown one or none is refused before any key is made."""
    with nullcontext() if enough else pytest.raises((RunRefused, InvalidArgument)):
        assert ask(tmp_path, keys, weakest=weakest, cells=offered)
    assert (tmp_path / "memory" / "sessions").exists() == enough
