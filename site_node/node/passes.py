"""One pass of the pipeline over a node's studies, and its result."""

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
    """The result of a pass: the last state that each study reached in it, and the error that blocked sending."""

    reached: dict[StudyKey, State] = field(default_factory=dict)
    progress: Progress = field(default_factory=lambda: Progress(moved=0, blocked=None))

    @property
    def exit_code(self) -> ExitCode:
        """The blocking error's code when sending was blocked, `PARTIAL` when a study ended without being submitted."""
        if self.progress.blocked is not None:
            return self.progress.blocked.exit_code
        unsubmitted = ENDED - {State.SUBMITTED}
        return ExitCode.PARTIAL if unsubmitted & set(self.reached.values()) else ExitCode.DONE


def run_pass(node: Node, until: State, *, halted: Callable[[], bool] = lambda: False) -> Pass:
    """Move every study up to the state `until`; connect only when there may be something to send.

    `halted` is called between two stages and ends the pass early.
    """
    completed = Pass()
    with ExitStack() as stack:
        submit = None
        if until is State.SUBMITTED and node.membership is not None and _may_send(node.ledger):
            submit = stack.enter_context(submitting(node.home, node.membership))
        pipeline = Pipeline(
            node.home,
            node.ledger,
            node.stages.available(stack.enter_context(PixelChecker()), submit),
            originals_stay=node.settings.originals_stay,
            report=completed.reached.__setitem__,
            halted=halted,
            shortage=node.free_space.shortage,
        )
        completed.progress = pipeline.run(until)
    return completed


def _may_send(ledger: Ledger) -> bool:
    return any(entry.state not in ENDED for entry in ledger.studies())
