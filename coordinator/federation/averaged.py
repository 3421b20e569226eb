"""Rounds of training without masks: the sites' updates become one average, in the fixed point of the secure sum.

So a run and its masked twin have the same model, bit for bit: rounding that differed would grow from round to round.
"""

from collections.abc import Iterable

from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict

from coordinator.federation.grid import RosterGrid
from shared.federation import records
from shared.federation.averaging import average_of


class AveragedRounds:
    """As much of a grid as Flower's strategies use; a strategy sees the average of a round's updates as one answer."""

    def __init__(self, grid: RosterGrid) -> None:
        self._grid = grid

    def get_node_ids(self) -> Iterable[int]:
        """The nodes of the roster that are online; raises `TooFewSites`."""
        return self._grid.get_node_ids()

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """The average of a training's answers; an evaluation's as they are. Raises as the roster's grid does."""
        asked = list(messages)
        replies = list(self._grid.send_and_receive(asked, timeout=timeout))
        if asked[0].metadata.message_type != "train":
            return replies
        updates = [
            (reply.content[records.ARRAYS][records.STATE].numpy(), reply.content[records.METRICS][records.EXAMPLES])
            for reply in replies
        ]
        arrays = ArrayRecord({records.STATE: Array(average_of(updates))})
        metrics = MetricRecord({records.EXAMPLES: sum(images for _, images in updates)})
        return [Message(RecordDict({records.ARRAYS: arrays, records.METRICS: metrics}), reply_to=asked[0])]
