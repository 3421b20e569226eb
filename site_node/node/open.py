"""What the verbs share: the home they work in, and a pass of the pipeline told to the person who asked for it."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from shared.errors import ExitCode, InvalidArgument, NotEnrolled
from shared.ids import StudyKey
from shared.terminal import print_json, print_line
from site_node.home.folder import SiteHome, SiteSettings
from site_node.home.free_space import Room
from site_node.home.ledger import ENDED, Ledger, State
from site_node.membership.record import Membership, load_membership
from site_node.node.composition import Workshop
from site_node.node.pipeline import Pipeline, Progress
from site_node.pixels.client import PixelChecker
from site_node.pixels.inspect import WITHOUT
from site_node.submit.client import submitting

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script instead of text.")]


@dataclass(frozen=True)
class Node:
    """An open home."""

    home: SiteHome
    settings: SiteSettings
    ledger: Ledger
    membership: Membership | None

    @property
    def workshop(self) -> Workshop:
        """Fresh, so that a sheet imported meanwhile is read."""
        return Workshop(self.home, self.settings, self.ledger, self.membership)

    @property
    def room(self) -> Room:
        """The disk that the home lies on."""
        return Room(self.home.folder, self.settings.min_free_mb)


@dataclass
class Pass:
    """One pass of the pipeline: the last state each study reached in it, and what blocked sending."""

    reached: dict[StudyKey, State] = field(default_factory=dict)
    progress: Progress = field(default_factory=lambda: Progress(moved=0, blocked=None))

    @property
    def exit_code(self) -> ExitCode:
        """`PARTIAL` when a study of this pass left the way, the blocking error's code when sending was blocked."""
        if self.progress.blocked is not None:
            return self.progress.blocked.exit_code
        stopped = ENDED - {State.SUBMITTED}
        return ExitCode.PARTIAL if stopped & set(self.reached.values()) else ExitCode.DONE


def home_of(context: typer.Context) -> SiteHome:
    """The home named by `--home` or `RICORD_SITE_HOME`; raises `InvalidArgument` when neither is given."""
    if not isinstance(context.obj, Path):
        raise InvalidArgument(name="--home", problem="name the site's home, or set RICORD_SITE_HOME")
    return SiteHome(context.obj.expanduser().absolute())


@contextmanager
def open_node(context: typer.Context, *, writing: bool = True) -> Iterator[Node]:
    """Open the home for one command; with `writing`, as the one process that moves studies."""
    home = home_of(context)
    settings = home.load()
    with ExitStack() as stack:
        if writing:
            stack.enter_context(home.writing())
        ledger = Ledger(home.ledger)
        stack.callback(ledger.close)
        yield Node(home, settings, ledger, membership_of(home))


def membership_of(home: SiteHome) -> Membership | None:
    """The site's membership, or `None` before enrolment."""
    try:
        return load_membership(home)
    except NotEnrolled:
        return None


def one_pass(node: Node, until: State, *, halted: Callable[[], bool] = lambda: False) -> Pass:
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
            node.workshop.stages(stack.enter_context(PixelChecker()), submit),
            originals_stay=node.settings.originals_stay,
            report=done.reached.__setitem__,
            halted=halted,
            shortage=node.room.shortage,
        )
        done.progress = pipeline.run(until)
    return done


def warn_without_pixel_check(*, pixel_check: bool) -> None:
    """Say on standard error what is given up where the search for burned-in text is switched off."""
    if not pixel_check:
        typer.echo(f"warning: {WITHOUT}", err=True)


def tell(done: Pass, *, as_json: bool) -> None:
    """Show what a pass did, by the state its studies reached."""
    counts = Counter(state.value for state in done.reached.values())
    blocked = done.progress.blocked
    if as_json:
        error = {"code": blocked.code, "message": blocked.public} if blocked else None
        print_json({"moved": done.progress.moved, "reached": dict(sorted(counts.items())), "blocked": error})
        return
    words = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    print_line(words + "." if words else "Nothing was waiting for this.")
    if blocked:
        typer.echo(f"error: {blocked.public}", err=True)


def _may_send(ledger: Ledger) -> bool:
    return any(entry.state not in ENDED for entry in ledger.studies())
