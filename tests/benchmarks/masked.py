"""A masked round of training with a model of 100 MB: the five stages of a secure sum, in which nobody trains.

The plan, the policy, the sum and the average are the product's; `python -m tests.benchmarks.masked worker` is the
node's worker, in which the model is a large one, the images are none and a training changes nothing.
"""

import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from coordinator.federation.grid import RosterGrid
from coordinator.federation.masked import MaskedRounds
from shared.federation import records
from shared.federation.plan import PlanRequest, complete_plan, sign_plan
from shared.federation.task import TrainingTask
from tests.benchmarks.engine import ROUND_SECONDS, Centre, engine
from tests.benchmarks.measure import Row, medians
from tests.factories.site_homes import PROTOCOL, member_of, signer_for

SITES, NUMBERS, ROUNDS = 4, 25_000_000, 2  # numbers of 4 bytes each
PATIENTS = 20


def rows() -> list[Row]:
    """Seconds of the training half of a round, which the unmasked round of `federation` has beside an evaluation."""
    with TemporaryDirectory() as folder, engine(Path(folder), SITES, "tests.benchmarks.masked") as centre:
        seconds = medians({"masked": lambda: play(centre)}, rounds=ROUNDS)["masked"]
    what = f"a masked training of {SITES} sites, {4 * NUMBERS // 1_000_000} MB"
    return [Row(what, seconds, "s", "itself", 1.0)]


def play(centre: Centre) -> float:
    """Seconds of one sum over all sites, under a plan of its own."""
    task = TrainingTask(rounds=1)
    request = PlanRequest(purpose="training", training=task, timeout_seconds=ROUND_SECONDS)
    plan = complete_plan(request, members=tuple(map(member_of, centre.sites)), protocol_digest=PROTOCOL)
    signer = signer_for(centre.key, centre.sites)
    grid = RosterGrid(centre.run.grid, plan, sign_plan(plan, centre.key), centre.superlink.nodes, signer)
    rounds, start = MaskedRounds(grid, task), np.random.default_rng(0).random(NUMBERS, np.float32)
    content = RecordDict(
        {
            records.ARRAYS: ArrayRecord({records.STATE: Array(start)}),
            records.CONFIG: ConfigRecord({records.ROUND: 1}),
        }
    )
    asked = Message(content, dst_node_id=next(iter(rounds.get_node_ids())), message_type="train")
    begun = time.perf_counter()
    [average] = rounds.send_and_receive([asked])
    seconds = time.perf_counter() - begun
    assert np.allclose(average.content[records.ARRAYS][records.STATE].numpy(), start, atol=1e-6)
    return seconds


def work() -> None:
    """The node's worker with a model of that size."""
    import torch

    from site_node.federate import client_app, local_layers, masked, worker
    from site_node.federate.dataset import Split
    from site_node.federate.training import Samples

    def build(_: TrainingTask) -> torch.nn.Module:
        model = torch.nn.Module()
        model.weights = torch.nn.Parameter(torch.zeros(NUMBERS))
        return model

    samples = Samples(np.zeros((PATIENTS, 32, 32), np.float32), np.arange(PATIENTS) % 2, np.arange(PATIENTS))
    split = Split(samples, samples, samples, PATIENTS)
    with ExitStack() as stack:
        stack.enter_context(patch.object(local_layers, "build_model", build))
        stack.enter_context(patch.object(masked, "state_length", lambda *_: NUMBERS))
        stack.enter_context(patch.object(masked, "train", lambda *_, **__: 0.5))
        stack.enter_context(patch.object(client_app, "load_split", lambda *_, **__: split))
        worker.main()


if __name__ == "__main__":
    work()
