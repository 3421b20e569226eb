"""A plan may end a training before its last round, by the validation figures alone; the run is done and says why."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.federation.checkpoints import finished_rounds
from coordinator.federation.early_stop import stop_reason
from coordinator.federation.grid import RosterGrid
from coordinator.federation.results import RoundResult
from coordinator.federation.training import run_training
from shared.crypto.signing import SigningKey
from shared.federation.plan import PlanRequest, complete_plan, sign_plan
from shared.federation.task import EarlyStop, TrainingTask
from tests.factories.local_grid import LocalGrid
from tests.factories.site_homes import PROTOCOL, make_site, member_of, set_policy, signer_for

KEY = SigningKey.generate()
FIGURES = st.lists(st.integers(0, 16).map(lambda step: step / 16), min_size=1, max_size=12)


def rounds_of(areas: list[float], losses: list[float] | None = None) -> list[RoundResult]:
    pairs = enumerate(zip(areas, losses or areas, strict=True), 1)
    return [
        RoundResult(
            round=number,
            training_images=1,
            training_loss=None,
            auc=area if losses is None else None,
            validation_loss=loss,
            sites=(),
        )
        for number, (area, loss) in pairs
    ]


def task(patience: int, least: float = 0.0, rounds: int = 20) -> TrainingTask:
    return TrainingTask(rounds=rounds, early_stop=EarlyStop(patience=patience, least_improvement=least))


@given(FIGURES, st.integers(1, 5), st.sampled_from([0.0, 1 / 16, 0.25]))
def test_it_ends_after_so_many_rounds_without_improvement(areas: list[float], patience: int, least: float) -> None:
    """Not before: each of the last rounds is no more than `least_improvement` above one that improved."""
    best = [0]
    for place, area in enumerate(areas):
        best += [place] if area > areas[best[-1]] + least else []
    assert bool(stop_reason(task(patience, least), rounds_of(areas))) == (len(areas) - 1 - best[-1] >= patience)


def test_less_loss_is_better_where_no_round_has_an_auc() -> None:
    """And the reason names what was judged, the round and the plan's number of rounds."""
    falling, rising = [0.9, 0.8, 0.7], [0.7, 0.8, 0.9]
    assert not stop_reason(task(2), rounds_of(falling, falling))
    assert stop_reason(task(2), rounds_of(rising, rising)) == (
        "stopped early after round 3 of 20: for 2 rounds the validation loss had not improved by more than 0"
    )
    assert "AUC" in stop_reason(task(2), rounds_of([0.7, 0.7, 0.7]))


def test_the_last_round_and_a_plan_without_the_rule_end_nothing_early() -> None:
    """There is nothing left to stop, or nobody asked for it."""
    same = rounds_of([0.5, 0.5, 0.5])
    assert not stop_reason(task(1, rounds=3), same)
    assert not stop_reason(TrainingTask(rounds=20), same)


@pytest.mark.slow
@pytest.mark.parametrize("masked", [True, False])
def test_a_run_that_ends_early_is_tested_and_goes_on_no_more(tmp_path: Path, *, masked: bool) -> None:
    """Best and last model are tested and kept with the reason; a restart trains no round more, and tests none again."""
    sites = {10 + n: make_site(tmp_path / str(n), f"{200000 + n}", KEY, images=24) for n in range(3)}
    for site in sites.values():
        set_policy(site, minimum_cases=1, unmasked=True)
    stops = TrainingTask(
        image_size=32,
        rounds=9,
        local_epochs=1,
        minimum_cases=1,
        test_share=0.4,
        masked=masked,
        early_stop=EarlyStop(patience=2, least_improvement=0.9),
    )
    request = PlanRequest(purpose="training", training=stops)
    plan = complete_plan(request, members=tuple(map(member_of, sites.values())), protocol_digest=PROTOCOL)
    nodes = {site.site_id: node for node, site in sites.items()}

    def run(local: LocalGrid) -> None:
        signer = signer_for(KEY, sites.values())
        run_training(RosterGrid(local, plan, sign_plan(plan, KEY), lambda: nodes, signer), tmp_path / "run")

    run(LocalGrid(sites))
    result = finished_rounds(tmp_path / "run")
    assert result is not None
    assert [entry.round for entry in result.rounds] == [1, 2, 3]
    assert result.stopped.startswith("stopped early after round 3 of 9")
    assert [test.model.round for test in result.tests] == sorted({result.best or 0, 3})
    assert (result.best_sha256 is None) == (result.best == 3)
    again = LocalGrid(sites)
    run(again)
    assert not again.seen
    assert finished_rounds(tmp_path / "run") == result
