"""Rounds of masked training: a strategy sends a model and sees one answer, the average over all sites by secure sum.

Flower's strategies still make the server's step, from that average; nobody sees one site's update, count or loss.
"""

import secrets
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict

from coordinator.federation.answers import too_far
from coordinator.federation.grid import Answer, GridExchange, RosterGrid
from shared.errors.federation import PlanInvalid, RunFailed
from shared.federation import records
from shared.federation.averaging import BINS, SUBJECT, Counts, auc_of, averaged, evaluation_of, inputs_of
from shared.federation.records import Vector
from shared.federation.secure_sum.messages import SumPlan
from shared.federation.secure_sum.policy import MINIMUM, default_threshold
from shared.federation.secure_sum.server import Sum, sum_without_liars
from shared.federation.task import TrainingTask
from shared.ids import SiteId

Figures = dict[str, float]
_EVALUATION = 2 + 2 * BINS  # words


class Tested(NamedTuple):
    """Of a finished model and all patients of the sites in a sum: histograms, and the mean loss of the test's."""

    validation: Counts
    loss: float
    test: Counts
    summed: tuple[SiteId, ...]


class MaskedRounds:
    """As much of a grid as Flower's strategies use; each round is one secure sum over the plan's roster.

    `summed` names the sites of the run's last sum, before a restart.
    """

    def __init__(self, grid: RosterGrid, task: TrainingTask, summed: tuple[SiteId, ...] = ()) -> None:
        if grid.signer is None:
            raise PlanInvalid(problem="it was started without a key that signs its sums")
        self._grid = grid
        self._task = task
        self._signer = grid.signer
        self._summed = summed  # the sites of the last sum

    def get_node_ids(self) -> Iterable[int]:
        """The nodes of the roster that are online; raises `TooFewSites`."""
        return self._grid.get_node_ids()

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """The pooled answer to a round's message, which must be the same to every site.

        Raises what `sum_without_liars` raises, and `RunFailed` for a sum that cannot be one of legal updates.
        """
        del timeout  # the plan's own applies
        asked = next(iter(messages))
        start: Vector = asked.content[records.ARRAYS][records.STATE].numpy()
        training = asked.metadata.message_type == "train"
        total = self._sum(asked, start, length=start.size + 2 if training else _EVALUATION)
        records_of, figures = self._trained(total, start) if training else ({}, self._evaluated(total))
        self._grid.answers.append(
            Answer(None, asked.metadata.message_type, self._grid.round_of(asked), figures, None, total.survivors)
        )
        return [Message(RecordDict({**records_of, records.METRICS: MetricRecord(figures)}), reply_to=asked)]

    def tested(self, asked: Message) -> Tested:
        """The pooled histograms of a finished model, which `asked` brings; raises as `send_and_receive` does."""
        start: Vector = asked.content[records.ARRAYS][records.STATE].numpy()
        total = self._sum(asked, start, length=2 * _EVALUATION)
        sites, most = len(total.survivors), self._task.maximum_images
        parts = (total.total[:_EVALUATION], total.total[_EVALUATION:])
        validation, test = (evaluation_of(part, sites=sites, most_images=most) for part in parts)
        return Tested(validation[1], *test, total.survivors)

    def _sum(self, asked: Message, start: Vector, *, length: int) -> Sum:
        plan = self._grid.plan
        session = SumPlan(
            session=secrets.token_hex(16),
            subject=SUBJECT,
            protocol_digest=plan.protocol_digest,
            length=length,
            roster=self._signer.peers,
            threshold=max(default_threshold(len(plan.sites)), plan.minimum_sites),
            inputs=inputs_of(plan.run, asked.metadata.message_type, start),
        )
        total = sum_without_liars(
            session,
            self._signer.key,
            GridExchange(self._grid, asked),
            refuse=lambda site, reason: self._refuse(asked, site, reason),
            choose=lambda present: nested(self._summed, present),
        )
        self._summed = total.survivors
        return total

    def _refuse(self, asked: Message, site: SiteId, reason: str) -> None:
        self._grid.answers.append(
            Answer(site, asked.metadata.message_type, self._grid.round_of(asked), {}, refusal=reason)
        )

    def _trained(self, total: Sum, start: Vector) -> tuple[dict[str, ArrayRecord], Figures]:
        sites = len(total.survivors)
        average = averaged(total.total, sites=sites, most_images=self._task.maximum_images)
        state, loss = average.values[:-1].astype(np.float32), float(average.values[-1])
        if average.images < sites or loss < 0 or too_far(state, start, self._task):
            raise RunFailed(
                problem="the pooled update is outside the plan's bounds, so a site lied; masks hide which one"
            )
        figures: Figures = {
            records.EXAMPLES: average.images,
            records.LOSS: loss,
            records.FIGURES: int(self._task.privacy is None),
        }
        return {records.ARRAYS: ArrayRecord({records.STATE: Array(state)})}, figures

    def _evaluated(self, total: Sum) -> Figures:
        """Pooled figures; an AUC only where each class has enough cases in all."""
        sites = len(total.survivors)
        loss, counts = evaluation_of(total.total, sites=sites, most_images=self._task.maximum_images)
        auc = auc_of(counts) if counts.sum(axis=1).min() >= self._task.minimum_cases else None
        return {
            records.EXAMPLES: int(counts.sum()),
            records.LOSS: loss,
            records.AUC: auc or 0.0,
            records.FIGURES: int(auc is not None),
        }


def nested(previous: Sequence[SiteId], present: Sequence[SiteId]) -> tuple[SiteId, ...]:
    """The sites to sum over, after a sum over `previous`: the same ones, or at least `MINIMUM` fewer.

    A sum over one or two sites fewer would show these by the difference, so every site refuses to sign it
    (`refuse_near_repeat`): when some are lost, others stay out with them.
    """
    stay = tuple(site for site in previous if site in present)
    lost = len(previous) - len(stay)
    return tuple(present) if not previous else stay if not lost else stay[: len(previous) - max(lost, MINIMUM)]
