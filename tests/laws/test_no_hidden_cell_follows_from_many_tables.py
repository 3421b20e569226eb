"""The law of all that is released of a cohort: who has all of it and knows the protocol cannot narrow a hidden cell."""

import random
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.cohort.pooling import released_counts
from coordinator.cohort.relations import Relation, complete, relations_of, statements_of
from shared.federation.cell_policy import CellPolicy
from shared.protocol.cohort import CohortDefinition
from shared.protocol.loader import load_protocol
from site_node.federate.statistics import count
from tests.factories.attacks import MOST, Attack, Span
from tests.factories.drawn_cohorts import definitions, pooled
from tests.factories.libraries import by_the_sheet

pytestmark = pytest.mark.slow

RICORD = load_protocol().cohort
POLICIES = [CellPolicy.named(name) for name in ("cms-11", "nhs-7-round-5", "min-5", "min-2")]
laws = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def release(
    definition: CohortDefinition, everything: Mapping[str, int], policy: CellPolicy, shown: Mapping[str, int | None]
) -> tuple[list[Relation], dict[str, Span]]:
    """What a reader has who knows what the definition states: relations, and each cell's span."""
    statements = [each for each in statements_of(definition) if each.holds(everything)]
    spans = dict.fromkeys(everything, (0, MOST))
    spans |= {cell: policy.range_of(count) for cell, count in shown.items() if count is not None}
    return [*relations_of(definition), *statements], spans


def narrowed(definition: CohortDefinition, counts: Mapping[str, int], policy: CellPolicy, seed: bytes) -> list[str]:
    """The small cells that a reader narrows to less than 1 to `highest`."""
    shown = released_counts(definition, counts, policy, seed=seed)
    attack = Attack(*release(definition, complete(definition, counts), policy, shown))
    small = [cell for cell in shown if policy.is_small(counts[cell])]
    assert all(shown[cell] is None for cell in small)
    if all(count is None for count in shown.values()):
        return []  # nothing is shown, so nothing follows
    return [cell for cell in small if not attack.covers(cell, policy.highest)]


@given(st.data(), definitions(), st.sampled_from(POLICIES), st.binary(max_size=4))
@laws
def test_who_knows_the_program_rules_out_no_table(
    data: st.DataObject, definition: CohortDefinition, policy: CellPolicy, seed: bytes
) -> None:
    """Any table that fits a release is protected by the same hidden cells, so chance might have hidden the same."""
    counts = data.draw(pooled(definition))
    shown, everything = released_counts(definition, counts, policy, seed=seed), complete(definition, counts)
    hidden = [cell for cell in definition.cells if shown[cell] is None]
    if 0 < len(hidden) < len(shown):
        known, spans = release(definition, everything, policy, shown)
        cell = data.draw(st.sampled_from(hidden))
        for sign in (1, -1):
            other = Attack(known, spans).table(cell, sign)
            assert {name for name in shown if policy.is_small(other[name])} <= set(hidden)
            attack = Attack(known, spans)
            assert all(attack.covers(name, policy.highest) for name in hidden if policy.is_small(other[name]))


@pytest.mark.parametrize("policy", POLICIES[:3], ids=lambda policy: policy.name)
def test_which_cells_are_hidden_is_the_seeds_choice(policy: CellPolicy) -> None:
    """From one table, different seeds lead to different hidden cells, and one seed always to the same."""
    counts = count(RICORD, by_the_sheet(random.Random("choice"), 150))
    hidden = [
        frozenset(cell for cell, count in released_counts(RICORD, counts, policy, seed=seed).items() if count is None)
        for seed in (b"1", b"2", b"3", b"4", b"1")
    ]
    assert hidden[0] == hidden[-1]
    assert len(set(hidden)) > 1


@given(st.data(), definitions(), st.sampled_from(POLICIES), st.binary(max_size=4))
@laws
def test_of_any_definition(data: st.DataObject, definition: CohortDefinition, policy: CellPolicy, seed: bytes) -> None:
    """Each hidden small cell may hold every count that the policy hides, whatever the definition states."""
    assert narrowed(definition, data.draw(pooled(definition)), policy, seed) == []


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
@pytest.mark.parametrize("patients", [40, 80, 150, 300])
def test_of_the_shipped_definition(patients: int, policy: CellPolicy) -> None:
    """No table of adults whose sheet is filled in as it is meant narrows a cell."""
    counts = count(RICORD, by_the_sheet(random.Random(f"{patients} {policy.name}"), patients))
    assert narrowed(RICORD, counts, policy, b"a secret") == []
