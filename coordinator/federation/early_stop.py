"""When a training ends before its last round: once its validation figure has not improved for as long as a plan says.

The figure is the one by which the best round is chosen: pooled over all sites' validation images in a masked run.
"""

from collections.abc import Sequence

from coordinator.federation.results import RoundResult, validation_figures
from shared.federation.task import TrainingTask


def stop_reason(task: TrainingTask, rounds: Sequence[RoundResult]) -> str:
    """Why no further round is trained after these; empty where one is, or where they are all that the plan has."""
    rule = task.early_stop
    if rule is None or len(rounds) >= task.rounds:
        return ""
    best, waited = float("-inf"), 0
    for figure, _ in validation_figures(rounds):
        improves = figure > best + rule.least_improvement
        best, waited = (figure, 0) if improves else (best, waited + 1)
    if waited < rule.patience:
        return ""
    figure_name = "loss" if all(entry.auc is None for entry in rounds) else "AUC"
    return (
        f"stopped early after round {rounds[-1].round} of {task.rounds}: for {waited} rounds the validation"
        f" {figure_name} had not improved by more than {rule.least_improvement:g}"
    )
