"""What differentially private training costs: epsilon by Opacus's accountant (extra `privacy`), at a delta of 1e-6.

The unit is a patient, who may be there or not. It is of the weights that leave: numbers of images, and histograms and
figures of validation and test, have no noise.
"""

import importlib
import warnings
from collections.abc import Iterable
from typing import Any

from shared.errors.federation import PlanInvalid
from shared.federation.plan import Privacy, TrainingTask
from shared.frozen import Frozen

DELTA = 1e-6


class Charge(Frozen):
    """So many steps of DP-SGD, each of which draws every patient by chance, 1 in `batches`."""

    noise_multiplier: float
    batches: int
    steps: int


def charge_of(task: TrainingTask, privacy: Privacy, *, rounds: int = 1) -> Charge:
    """What rounds of a task cost a site."""
    steps = rounds * task.local_epochs * privacy.batches
    return Charge(noise_multiplier=privacy.noise_multiplier, batches=privacy.batches, steps=steps)


def epsilon_of(charges: Iterable[Charge]) -> float:
    """The epsilon of everything together (Renyi accountant, Mironov 2017); raises `PlanInvalid` without Opacus."""
    accountant = opacus("accountants").RDPAccountant()
    accountant.history = [(each.noise_multiplier, 1 / each.batches, each.steps) for each in charges]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that another order might give a little less
        return float(accountant.get_epsilon(DELTA))


def opacus(module: str) -> Any:
    """A module of Opacus; raises `PlanInvalid` where it is not installed."""
    try:
        return importlib.import_module(f"opacus.{module}")
    except ImportError as error:
        raise PlanInvalid(problem="Opacus is not installed here: pip install 'ricord-federation[privacy]'") from error
