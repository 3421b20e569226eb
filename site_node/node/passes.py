"""One pass of the pipeline over a node's studies, and its result."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial

from shared.errors.agreements import AgreementSuperseded
from shared.errors.base import ExitCode
from shared.errors.trust import TrustError
from shared.ids import StudyKey
from shared.progress import progress
from site_node.home.clearing import clear_library
from site_node.home.ledger import ENDED, STATE_ORDER, Ledger, State
from site_node.monitoring.watch import Watch
from site_node.node.crew import Crew
from site_node.node.edition import begin_edition
from site_node.node.obstacles import keep_obstacle
from site_node.node.open import Node
from site_node.node.pipeline import Pipeline, Progress, Step


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


def run_pass(
    node: Node,
    until: State,
    *,
    halted: Callable[[], bool] = lambda: False,
    crew: Crew | None = None,
    watch: Watch | None = None,
    shown: bool = False,
) -> Pass:
    """Move every study up to the state `until`. A pass that may send also renews a certificate that is due.

    What the certificate or the clock forbids comes into `blocked`; the stages before sending go on.

    `halted` is called between two stages and ends the pass early. `crew` works and stays; without one, one of this pass
    works. A `watch` notes what stages take. With `shown` a terminal shows how far it is. What blocks a pass that may
    send is kept for `status` and `doctor`. Where the agreement was amended meanwhile, the pass fetches the version in
    force and goes on under it.
    """
    run = partial(_run_pass, until=until, halted=halted, crew=crew, watch=watch or Watch(node.home), shown=shown)
    completed = run(node)
    if isinstance(completed.progress.blocked, AgreementSuperseded) and not halted():
        from site_node.membership.amendment import fetch_countersigned

        if (membership := fetch_countersigned(node.home)) is not None:
            again = run(replace(node, membership=membership))
            moved = completed.progress.moved + again.progress.moved
            completed = Pass({**completed.reached, **again.reached}, replace(again.progress, moved=moved))
    if until is State.SUBMITTED and not halted():
        keep_obstacle(node.home, completed.progress.blocked)
    return completed


def _run_pass(
    node: Node, *, until: State, halted: Callable[[], bool], crew: Crew | None, watch: Watch, shown: bool
) -> Pass:
    completed = Pass()
    begin_edition(node)
    clear_library(node.home, node.ledger)
    with ExitStack() as stack:
        crew = crew or stack.enter_context(closing(Crew(halted)))
        workers = crew.workers(node, until)  # they start while this process prepares
        submit, refusal = None, None
        if until is State.SUBMITTED and node.membership is not None:
            from site_node.submit.client import submitting
            from site_node.submit.pace import Pace

            rate = node.settings.submit.bytes_per_second
            try:
                pace = Pace(rate, sent=watch.working)
                submit = watch.submitting(stack.enter_context(submitting(node.home, node.membership, pace)))
            except TrustError as error:
                refusal = error
        advance = stack.enter_context(
            progress("Studies", partial(_count_before, until, node.ledger), unit="studies", shown=shown)
        )

        def report(key: StudyKey, step: Step) -> None:
            completed.reached[key] = step.reached
            advance(int(step.reached is until or step.reached in ENDED), step.reached.value)
            if step.seconds is not None:
                watch.entered(step.begun, step.seconds)

        pipeline = Pipeline(
            node.home,
            node.ledger,
            node.stages.available(crew.checker, submit),
            originals_stay=node.settings.originals_stay,
            grows_for=node.settings.grows_for,
            at_once=node.settings.submit.at_once,
            report=report,
            halted=halted,
            shortage=node.free_space.shortage,
        )
        progressed = pipeline.run(until, workers)
        completed.progress = replace(progressed, blocked=refusal or progressed.blocked)
    return completed


def _count_before(until: State, ledger: Ledger) -> int:
    """How many studies have not come to `until` and may."""
    return len(ledger.studies(*STATE_ORDER[: STATE_ORDER.index(until)]))
