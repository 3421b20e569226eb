"""What waits in a home, for whom, and since when; and whether federated work is done."""

from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum

from shared.agreement import Mode
from shared.counts import counted
from shared.editions import ProtocolEdition
from shared.errors.agreements import AgreementError
from shared.errors.base import RicordError
from shared.errors.inputs import SourceMissing
from shared.errors.settings import SettingsError
from shared.extras import ENGINE, require_extra
from shared.frozen import Frozen
from site_node.federate.policy import POLICY_FILE, load_policy
from site_node.federate.state import StateFile
from site_node.home.ledger import STATE_ORDER, State
from site_node.home.library import unreadable_count
from site_node.home.plans import PlanState
from site_node.membership.record import Membership
from site_node.membership.step import step_of
from site_node.membership.witness import Witness
from site_node.network.arrivals import last_arrivals
from site_node.node.inbox import InboxWatcher
from site_node.node.obstacles import kept_obstacle
from site_node.node.open import Node

_WAITING = (*STATE_ORDER[:-1], State.QUARANTINED)


class Whom(StrEnum):
    """Whose turn it is."""

    PERSON = "a person"
    NODE = "the node"
    PACS = "the PACS"
    COORDINATOR = "the coordinator"
    AGREEMENT = "the agreement"


class Wait(Frozen):
    """Studies, entries of the inbox or requests to the PACS that wait for the same, the first of them `since` then."""

    whom: Whom
    count: int
    since: datetime
    next: str


class FederatedWork(Frozen):
    """The kinds that the agreement covers, whether they can be done here, and why not or who does them."""

    modes: tuple[Mode, ...]
    possible: bool
    next: str


def waits_of(node: Node, *, running: bool) -> tuple[Wait, ...]:
    """What waits; `running` says whether a node is at work in the home."""
    obstacle = kept_obstacle(node.home)
    error = None if obstacle is None else obstacle.error
    whom_of = {state: _whom(state, node.membership, node.edition, error) for state in _WAITING}
    asked, waiting = node.ledger.requests.open(), node.ledger.oldest_by_state(*_WAITING)
    counts = Counter({Whom.PACS: asked.count})
    since = defaultdict(list, {Whom.PACS: [asked.since]} if asked.since else {})
    for state, (count, oldest) in waiting.items():
        counts[whom_of[state]] += count
        since[whom_of[state]].append(oldest)
    for arrived_at in _not_received(node, {state for state, whom in whom_of.items() if whom is Whom.NODE}):
        counts[Whom.NODE] += 1
        since[Whom.NODE].append(arrived_at)
    advice = dict(_advice(node, error, running=running))
    return tuple(
        Wait(whom=whom, count=counts[whom], since=min(since[whom]), next=advice[whom]) for whom in Whom if counts[whom]
    )


def _not_received(node: Node, waiting: Container[State]) -> Iterator[datetime]:
    """Since when that is here which came over the network or was put into the inbox and is in no study yet.

    Further images of a study in one of the `waiting` states wait with it.
    """
    with suppress(FileNotFoundError):
        awaited = node.ledger.requests.awaited_studies()  # these wait for the PACS
        for key, last in last_arrivals(node.home.arrivals, with_set_aside=True):
            if key not in awaited and not (node.ledger.has_study(key) and node.ledger.study(key).state in waiting):
                yield last
    with suppress(SourceMissing, FileNotFoundError):
        for entry in InboxWatcher(node.ledger, node.home.inbox(node.settings), settle=False).ready():
            yield datetime.fromtimestamp(entry.path.lstat().st_ctime, UTC)


def next_of_node(*, running: bool) -> str:
    """Who goes on with what waits for the node; `running` says whether one is at work in the home."""
    return "the node that is running goes on" if running else "`ricord-site run`"


def _whom(state: State, membership: Membership | None, edition: ProtocolEdition, error: RicordError | None) -> Whom:
    """Whose turn it is with the studies of a state, of which `error` blocks the sending."""
    if state is State.QUARANTINED:
        return Whom.PERSON
    if membership is not None and state is not State.SEALED and not membership.terms.covers(edition):
        return Whom.AGREEMENT
    if state is State.RECEIVED:
        return Whom.NODE
    if membership is None or (state is State.VALIDATED and Mode.SUBMIT not in membership.modes):
        return Whom.AGREEMENT
    if state is not State.SEALED:
        return Whom.NODE
    return Whom.AGREEMENT if isinstance(error, AgreementError) else Whom.COORDINATOR


def _advice(node: Node, error: RicordError | None, *, running: bool) -> Iterator[tuple[Whom, str]]:
    """What is next, for each whose turn it may be."""
    is_restored = bool(node.ledger.restoration.made_at)
    by_itself = "`ricord-site witness resume`: the home was restored" if is_restored else next_of_node(running=running)
    yield Whom.PERSON, "`ricord-site review list`"
    yield Whom.NODE, by_itself
    due = node.ledger.requests.open().next_due
    next_try = f"; next try at {due.astimezone():%H:%M:%S}" if due and due > datetime.now(UTC) else ""
    yield Whom.PACS, f"{by_itself}{next_try}"
    stopped = Witness(node.home).contradiction() is not None
    met = "" if error is None else f". The last try: {error.public.rstrip('.')}"
    yield (
        Whom.COORDINATOR,
        "its audit log contradicts what it signed; `ricord-site witness show`, and once it said why, `witness resume`"
        if stopped
        else f"{by_itself}; `ricord-site doctor` asks whether it answers{met}",
    )
    yield Whom.AGREEMENT, _advice_on_agreement(node, error)


def _advice_on_agreement(node: Node, error: RicordError | None) -> str:
    if node.membership is None:
        return step_of(node.home).next
    covered = node.membership.terms.covers(node.edition)
    if covered and isinstance(error, AgreementError):
        return error.public.rstrip(".")
    missing = "`submit`" if covered else "the edition installed (`ricord-site explain --changes`)"
    return f"it does not cover {missing}; ask the coordinator for an amendment"


def federated_work(node: Node, *, running: bool) -> FederatedWork:
    """Whether this site takes part in federated work."""
    modes = node.membership.federated_modes if node.membership else ()
    if problem := _obstacle(node, modes):
        return FederatedWork(modes=modes, possible=False, next=problem)
    waiting = [plan for plan in node.ledger.plans.all(PlanState.PENDING) if plan.is_open]
    asked = (
        f"; {counted(len(waiting), 'plan', 'waits')} for a person: `ricord-site federate pending`" if waiting else ""
    )
    if not running:
        return FederatedWork(modes=modes, possible=True, next=f"`ricord-site run`, or `ricord-site federate`{asked}")
    state = StateFile(node.home.federation).read()
    unreadable = unreadable_count(node.home.library)
    following = "the node that is running answers" + (f": {state.words}" if state else "")
    following += f"; {unreadable} files of the library cannot be read for training" if unreadable else ""
    return FederatedWork(modes=modes, possible=state is None or state.doing != "stopped", next=following + asked)


def _obstacle(node: Node, modes: Sequence[Mode]) -> str:
    """Why there is no federated work here; empty where there may be."""
    if node.membership is None:
        return "the site is not enrolled"
    if not modes:
        return "the agreement does not cover it"
    if contradiction := Witness(node.home).contradiction():
        return contradiction.error.public.rstrip(".")
    if node.ledger.plans.is_stopped():
        return "a person stopped it; `ricord-site federate stop --allow` answers again"
    try:
        require_extra("federation", *ENGINE)
        allowed = load_policy(node.home.folder / POLICY_FILE).purposes
    except SettingsError as error:
        return error.public.rstrip(".")
    return "" if allowed else f"{POLICY_FILE} allows nothing"
