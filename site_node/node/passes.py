"""One pass of the pipeline over a node's studies, and what it did."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from shared.errors import ExitCode
from shared.ids import StudyKey
from site_node.home.ledger import ENDED, Ledger, State
from site_node.node.open import Node
from site_node.node.pipeline import Pipeline, Progress
from site_node.pixels.client import PixelChecker
from site_node.submit.client import submitting


@dataclass
class Pass:
    """What a pass did: the last state that each study reached in it, and what blocked sending."""

    reached: dict[StudyKey, State] = field(default_factory=dict)
    progress: Progress = field(default_factory=lambda: Progress(moved=0, blocked=None))

    @property
    def exit_code(self) -> ExitCode:
        """`PARTIAL` when a study of this pass left the way, the blocking error's code when sending was blocked."""
        if self.progress.blocked is not None:
            return self.progress.blocked.exit_code
        stopped = ENDED - {State.SUBMITTED}
        return ExitCode.PARTIAL if stopped & set(self.reached.values()) else ExitCode.DONE


def run_pass(node: Node, until: State, *, halted: Callable[[], bool] = lambda: False) -> Pass:
    """Move every study as far as `until`; a connection is made only when there may be something to send.

    `halted` is asked between two stages and ends the pass early, whole.
    """
    done = Pass()
    with ExitStack() as stack:
        submit = None
        if until is State.SUBMITTED and node.membership is not None and _may_send(node.ledger):
            submit = stack.enter_context(submitting(node.home, node.membership))
        pipeline = Pipeline(
            node.home,
            node.ledger,
            node.stages.available(stack.enter_context(PixelChecker()), submit),
            originals_stay=node.settings.originals_stay,
            report=done.reached.__setitem__,
            halted=halted,
            shortage=node.free_space.shortage,
        )
        done.progress = pipeline.run(until)
    return done


def _may_send(ledger: Ledger) -> bool:
    return any(entry.state not in ENDED for entry in ledger.studies())
