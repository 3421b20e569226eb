"""Norm layers that stay at a site: FedBN (Li et al., ICLR 2021), for sites whose images differ.

What leaves of them is what came, so a masked vector has the same length and says nothing of them. Those of each round
are kept in `<federation>/layers/<run>/`, which nobody else reads, until the run's plan can no longer go on.
"""

import io
import os
import shutil
import time
from pathlib import Path

import numpy as np
from torch import nn

from shared.durable import write_whole
from shared.federation.models.registry import build_model, get_state, norm_places, set_state
from shared.federation.plan import Plan
from shared.federation.records import Vector
from shared.federation.task import TrainingTask


class LocalLayers:
    """A run's norm layers at this site; of other strategies than `fedbn` there are none."""

    def __init__(self, folder: Path, plan: Plan, task: TrainingTask) -> None:
        self._root = folder / "layers"
        self._folder = self._root / plan.run
        self._task = task
        self._until = plan.expires_at.timestamp()
        self._kept = task.strategy == "fedbn"

    def model_of(self, state: Vector, *, after: int) -> nn.Module:
        """The model of a state that came, with the site's norm layers after round `after`, or the last before it."""
        model = build_model(self._task)
        set_state(model, state)
        files = [self._file(number) for number in range(after, 0, -1)] if self._kept else []
        file = next((file for file in files if file.exists()), None)
        if file is not None:
            own = get_state(model)
            own[norm_places(model)] = np.load(file)
            set_state(model, own)
        return model

    def keep(self, model: nn.Module, *, after: int) -> None:
        """Keep a model's norm layers as those of round `after`; those of runs whose plans have expired go."""
        if not self._kept:
            return
        for old in self._root.glob("*"):
            if old.stat().st_mtime < time.time():
                shutil.rmtree(old, ignore_errors=True)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = io.BytesIO()
        np.save(content, get_state(model)[norm_places(model)])
        write_whole(self._file(after), content.getvalue(), mode=0o600)
        os.utime(self._folder, (self._until, self._until))

    def without(self, model: nn.Module, start: Vector) -> Vector:
        """The model's state as it may leave: norm layers as they came in `start`."""
        state = get_state(model)
        return np.where(norm_places(model), start, state) if self._kept else state

    def _file(self, server_round: int) -> Path:
        return self._folder / f"{server_round}.npy"
