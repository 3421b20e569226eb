"""What waits in a home, for whom, and since when; and whether federated work is done."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
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
from site_node.home.ledger import STATE_ORDER, State, StudyEntry
from site_node.home.library import unreadable_count
from site_node.home.plans import PlanState
from site_node.membership.record import Membership
from site_node.membership.step import step_of
from site_node.membership.witness import Witness
from site_node.network.arrivals import last_arrivals
from site_node.node.inbox import InboxWatcher
from site_node.node.obstacles import kept_obstacle
from site_node.node.open import Node


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
    since: defaultdict[Whom, dict[str, datetime]] = defaultdict(dict)
    since[Whom.NODE], edition, obstacle = dict(_not_received(node)), node.edition, kept_obstacle(node.home)
    error = None if obstacle is None else obstacle.error
    for entry in node.ledger.studies(*STATE_ORDER[:-1], State.QUARANTINED):
        since[_whom(entry, node.membership, edition, error)][entry.key] = entry.changed_at
    since[Whom.PACS] = {request.id: request.made_at for request in node.ledger.requests.all() if request.is_open}
    advice = dict(_advice(node, error, running=running))
    return tuple(
        Wait(whom=whom, count=len(since[whom]), since=min(since[whom].values()), next=advice[whom])
        for whom in Whom
        if since[whom]
    )


def _not_received(node: Node) -> Iterator[tuple[str, datetime]]:
    """What came over the network or was put into the inbox and is in no study yet, and since when it is here."""
    with suppress(FileNotFoundError):
        awaited = node.ledger.requests.awaited_studies()  # these wait for the PACS
        arrived = last_arrivals(node.home.arrivals, with_set_aside=True)
        yield from ((key, last) for key, last in arrived if key not in awaited)
    with suppress(SourceMissing, FileNotFoundError):
        for entry in InboxWatcher(node.ledger, node.home.inbox(node.settings), settle=False).ready():
            yield str(entry.path), datetime.fromtimestamp(entry.path.lstat().st_ctime, UTC)


def next_of_node(*, running: bool) -> str:
    """Who goes on with what waits for the node; `running` says whether one is at work in the home."""
    return "the node that is running goes on" if running else "`ricord-site run`"


def _whom(
    entry: StudyEntry, membership: Membership | None, edition: ProtocolEdition, error: RicordError | None
) -> Whom:
    """Whose turn it is with a study, of which `error` blocks the sending."""
    if entry.state is State.QUARANTINED:
        return Whom.PERSON
    if membership is not None and entry.state is not State.SEALED and not membership.terms.covers(edition):
        return Whom.AGREEMENT
    if entry.state is State.RECEIVED:
        return Whom.NODE
    if membership is None or (entry.state is State.VALIDATED and Mode.SUBMIT not in membership.modes):
        return Whom.AGREEMENT
    if entry.state is not State.SEALED:
        return Whom.NODE
    return Whom.AGREEMENT if isinstance(error, AgreementError) else Whom.COORDINATOR


def _advice(node: Node, error: RicordError | None, *, running: bool) -> Iterator[tuple[Whom, str]]:
    """What is next, for each whose turn it may be."""
    is_restored = bool(node.ledger.restoration.made_at)
    by_itself = "`ricord-site witness resume`: the home was restored" if is_restored else next_of_node(running=running)
    yield Whom.PERSON, "`ricord-site review list`"
    yield Whom.NODE, by_itself
    due = min((request.not_before for request in node.ledger.requests.all() if request.is_open), default=None)
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
