"""Of the same seed, a run without masks and one under masks have the same model after each round, bit for bit."""

from pathlib import Path

import pytest

from coordinator.federation.checkpoints import load_checkpoint
from coordinator.federation.grid import RosterGrid
from coordinator.federation.training import run_training
from shared.crypto.signing import SigningKey
from shared.federation.plan import PlanRequest, complete_plan, sign_plan
from shared.federation.records import Vector
from shared.federation.task import TrainingTask
from tests.factories.local_grid import LocalGrid
from tests.factories.site_homes import PROTOCOL, make_site, member_of, set_policy, signer_for

KEY = SigningKey.generate()


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"rounds": 8},
        {"rounds": 3, "strategy": "fedadam"},
        {"rounds": 3, "strategy": "fedbn", "norm": "batch"},
        {"rounds": 3, "strategy": "fedprox", "proximal_mu": 0.1},
    ],
)
def test_masks_change_no_number(tmp_path: Path, changes: dict[str, object]) -> None:
    """Training amplifies rounding: a difference in the last bit of the first round would be a hundredth some later."""
    sites = {10 + n: make_site(tmp_path / str(n), f"{200000 + n}", KEY, images=24 + 7 * n) for n in range(3)}
    for site in sites.values():
        set_policy(site, unmasked=True)
    nodes = {site.site_id: node for node, site in sites.items()}

    def states(*, masked: bool) -> list[Vector]:
        task = TrainingTask(image_size=32, local_epochs=1, test_share=0.0, masked=masked).model_copy(update=changes)
        request = PlanRequest(purpose="training", training=task)
        plan = complete_plan(request, members=tuple(map(member_of, sites.values())), protocol_digest=PROTOCOL)
        signer = signer_for(KEY, sites.values())
        run_training(RosterGrid(LocalGrid(sites), plan, sign_plan(plan, KEY), lambda: nodes, signer), tmp_path / "run")
        after_rounds = [load_checkpoint(tmp_path / "run", number, task) for number in range(1, task.rounds + 1)]
        for file in (tmp_path / "run").iterdir():
            file.unlink()
        return after_rounds

    for under_masks, without in zip(states(masked=True), states(masked=False), strict=True):
        assert under_masks.tobytes() == without.tobytes()
