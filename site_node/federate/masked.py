"""The site's part of a masked round: what it adds to a secure sum, and which sum it adds it to.

A round is the five stages of one sum. The model comes with the stage `mask`; nothing but words under masks leaves, and
of an evaluation this site's own AUC, of a test with its interval, to two decimals, where plan and policy want it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from shared.errors.federation import RunRefused
from shared.errors.protocol import ProtocolMismatch
from shared.federation import records
from shared.federation.averaging import BINS, SUBJECT, evaluation_words, histogram, inputs_of, state_digest, weighted
from shared.federation.models.registry import state_length
from shared.federation.plan import BEST, LAST, Plan
from shared.federation.records import Vector
from shared.federation.secure_sum.messages import SumPlan
from shared.federation.secure_sum.vectors import Words
from shared.federation.task import TrainingTask
from site_node.federate.dataset import Split
from site_node.federate.figures import own_figures, scores_of
from site_node.federate.local_layers import LocalLayers
from site_node.federate.policy import SitePolicy, check_patients, check_size, may_report_figures
from site_node.federate.training import clipped, evaluate, train

_WORD_BYTES = 8
_HEAD_BYTES = 512  # that an answer has at most besides its words


@dataclass
class MaskedPart:
    """A site's contribution to the sum of a round; `start` is the model that the message brought, if any."""

    plan: Plan
    task: TrainingTask
    policy: SitePolicy
    split: Callable[[], Split]
    start: Vector | None
    server_round: int
    layers: LocalLayers
    figures: dict[str, float] = field(default_factory=dict)  # of this site alone, that may leave beside the words
    kind: ClassVar[str]

    def approve(self, plan: SumPlan) -> None:
        """Take part in a sum of this run and kind, over its whole roster, with enough patients here.

        A model whose words may not leave is refused here, before anything is computed.
        """
        if plan.protocol_digest != self.plan.protocol_digest:
            raise ProtocolMismatch(held=self.plan.protocol_digest, wanted=plan.protocol_digest)
        if (
            plan.subject != SUBJECT
            or plan.length != self.length()
            or not plan.inputs.startswith(f"{self.plan.run} {self.kind} ")
        ):
            raise RunRefused(problem="the sum is not of this run")
        roster = {member.site_id: member.fingerprint for member in self.plan.sites}
        if {peer.site_id: peer.key.fingerprint for peer in plan.roster} != roster:
            raise RunRefused(problem="the sum is over other sites than the run")
        check_size(self.policy, _WORD_BYTES * plan.length + _HEAD_BYTES)
        check_patients(self.policy, self.split().patients)

    def vector(self, plan: SumPlan) -> Words:
        """The words, computed from the model that every site of the sum was given."""
        if self.start is None or inputs_of(self.plan.run, self.kind, self.start) != plan.inputs:
            raise RunRefused(problem="the model is not the one that the sum names")
        if self.plan.evaluated is not None and state_digest(self.start) != self.plan.evaluated.state_sha256:
            raise RunRefused(problem="the model is not the one that the plan names")
        return self.words(self.start)

    def length(self) -> int:
        """How many words the vector has."""
        raise NotImplementedError

    def words(self, start: Vector) -> Words:
        """The words that go under masks."""
        raise NotImplementedError


class Update(MaskedPart):
    """The state after local training, its loss, and the number of images they are of."""

    kind = "train"

    def length(self) -> int:
        """One for each number of the state, the loss, and the weight."""
        return state_length(self.task) + 2

    def words(self, start: Vector) -> Words:
        """Train, and clip the change as the plan says."""
        samples, model = self.split().learned(self.task), self.layers.model_of(start, after=self.server_round - 1)
        loss = train(model, samples, self.task, server_round=self.server_round)
        self.layers.keep(model, after=self.server_round)
        state = clipped(self.layers.without(model, start), start, self.task.update_norm)
        return weighted(np.append(state, loss), min(len(samples.labels), self.task.maximum_images))


class Evaluated(MaskedPart):
    """The loss on validation images, and how many of each class got which probability."""

    kind = "evaluate"

    def length(self) -> int:
        """Weight, loss and two histograms."""
        return 2 + 2 * BINS

    def words(self, start: Vector) -> Words:
        """Evaluate on as many images as count in an average."""
        samples = self.split().validation.first(self.task.maximum_images)
        result = evaluate(self.layers.model_of(start, after=self.server_round), samples)
        reported = result.auc is not None and may_report_figures(self.policy, self.plan, samples.cases)
        auc = round(result.auc, 2) if reported and result.auc is not None else 0.0
        self.figures = {records.AUC: auc, records.FIGURES: int(reported)}
        return evaluation_words(result.loss, histogram(samples.labels, result.probabilities))


class Tested(MaskedPart):
    """Of a finished model: losses and histograms of the validation patients, then of the test patients."""

    def length(self) -> int:
        """Twice the words of an evaluation."""
        return 2 * (2 + 2 * BINS)

    def words(self, start: Vector) -> Words:
        """Evaluate by patient."""
        model, split = self.layers.model_of(start, after=self.server_round), self.split()
        validation, test = (scores_of(model, samples, self.task) for samples in (split.validation, split.test))
        self.figures = own_figures(test, self.plan, self.task, self.policy)
        return np.concatenate([evaluation_words(scores.loss, scores.counts) for scores in (validation, test)])


class Best(Tested):
    """Of the model whose round was the best on validation images."""

    kind = BEST


class Last(Tested):
    """Of the last round's model."""

    kind = LAST


class Elsewhere(Tested):
    """Of a model that other sites trained; every patient here is one of the test."""

    kind = "evaluate"
