"""What differential privacy costs: epsilon of trainings by Opacus's accountant (extra `privacy`), at a delta of 1e-6.

The unit is a patient, who may be there or not. It is of the weights that leave: numbers of images, and histograms and
figures of validation and test, have no noise. Noisy counts add their own epsilon (`noise.py`).
"""

import importlib
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

from shared.errors.federation import PlanInvalid
from shared.federation.plan import Plan
from shared.federation.task import Privacy, TrainingTask
from shared.frozen import Frozen

DELTA = 1e-6


class Charge(Frozen):
    """So many steps of DP-SGD, each of which draws every patient by chance, 1 in `batches`; or of `epsilon` each."""

    noise_multiplier: float = 0.0
    batches: int = 0
    steps: int
    epsilon: float = 0.0  # of noisy counts


class Cost(NamedTuple):
    """What a plan costs a site of the budget of a label: each answer, and all of them."""

    label: str
    answer: Charge
    whole: Charge


def cost_of(plan: Plan) -> Cost | None:
    """What a plan costs; `None` without privacy. Noisy counts of a cohort have a budget of their own, by its name."""
    task, counted = plan.training, plan.statistics
    if task is not None and task.privacy is not None:
        return Cost(task.label, charge_of(task, task.privacy), charge_of(task, task.privacy, rounds=task.rounds))
    if counted is not None and counted.privacy is not None:
        charge = Charge(steps=1, epsilon=counted.privacy.epsilon)
        return Cost(f"cohort {counted.cohort}", charge, charge)
    return None


def charge_of(task: TrainingTask, privacy: Privacy, *, rounds: int = 1) -> Charge:
    """What rounds of a task cost a site."""
    steps = rounds * task.local_epochs * privacy.batches
    return Charge(noise_multiplier=privacy.noise_multiplier, batches=privacy.batches, steps=steps)


def epsilon_of(charges: Iterable[Charge]) -> float:
    """The epsilon of everything together; raises `PlanInvalid` without Opacus where trainings are among it.

    That of trainings is by the Renyi accountant (Mironov 2017), and those of noisy counts are added.
    """
    every = list(charges)
    counted = sum(each.epsilon * each.steps for each in every)
    trained = [(each.noise_multiplier, 1 / each.batches, each.steps) for each in every if each.batches]
    if not trained:
        return counted
    accountant = library("opacus.accountants").RDPAccountant()
    accountant.history = trained
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that another order might give a little less
        return counted + float(accountant.get_epsilon(DELTA))


def library(module: str) -> Any:
    """A module of Opacus or OpenDP; raises `PlanInvalid` where that is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = {"opacus": "Opacus", "opendp": "OpenDP"}[module.partition(".")[0]]
        raise PlanInvalid(problem=f"{name} is not installed here: pip install 'ricord-federation[privacy]'") from error
