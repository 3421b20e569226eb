"""Flower's grid restricted to a plan: to its roster, minimum and timeout; it records every answer by site.

Flower's strategies use it like any grid. It waits for the roster only for a limited time before a round, ends a round
when every site has answered or the plan's timeout is over, and fails the run when too few answers are useful.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from coordinator.federation.answers import problem_of
from coordinator.federation.link_grid import LOST
from shared.crypto.signing import SigningKey
from shared.errors.federation import RunFailed, TooFewSites
from shared.federation import records
from shared.federation.plan import Plan
from shared.federation.secure_sum.messages import Peer
from shared.ids import SiteId

_CHECK_SECONDS = 0.5  # while waiting, how often the run looks whether it was stopped
_GATHER_SECONDS = 120.0
_READY_SECONDS = 30.0  # for a site to say whether it takes part
_GRACE_SECONDS = 20.0  # for the other sites of the roster, once the minimum is present


class Answer(NamedTuple):
    """What one site answered to one message: figures by name, or why it refused. No site: a sum over all."""

    site: SiteId | None
    kind: str  # "train", "evaluate", "query", or one of the messages at the end of a training
    server_round: int
    metrics: Mapping[str, float]
    refusal: str | None
    summed: tuple[SiteId, ...] = ()  # of a sum: whose numbers are in it


class Signer(NamedTuple):
    """Who signs the secure sums of a run, and its roster with the sites' keys, by SITEID, ascending."""

    key: SigningKey
    peers: tuple[Peer, ...]


class WaitingGrid(Protocol):
    """What the roster's grid asks of the one that carries its messages, besides Flower's `Grid`."""

    def wait(self, seconds: float) -> None:
        """Wait until a reply or a node came or left since the last look, at most for `seconds`."""
        ...

    def forget(self, message_ids: Iterable[str]) -> None:
        """Forget messages that are not waited for any more, with whatever came in answer."""
        ...


class RosterGrid(Grid):  # type: ignore[misc] # Flower's packages are not followed by mypy
    """A grid for one run; `nodes` maps sites to nodes at the time of the call, since a site may register late."""

    def __init__(
        self,
        grid: Grid,
        plan: Plan,
        signed: str,
        nodes: Callable[[], Mapping[SiteId, int]],
        signer: Signer | None = None,
        *,
        absent: set[SiteId] | None = None,
    ) -> None:
        """`absent` names sites that were waited for in vain, by this run or another: not again until they are back."""
        self.plan = plan
        self.signed = signed
        self.signer = signer
        self.answers: list[Answer] = []
        self._grid = grid
        self._nodes = nodes
        self._sites: Mapping[int, SiteId] = {}
        self._absent = set[SiteId]() if absent is None else absent
        self._stopped: Callable[[], bool] = lambda: False
        self.round_kept: Callable[[], None] = lambda: None  # called when a round's checkpoint and figures are written
        self.progress: Callable[[str], None] = lambda _: None  # called with what the run waits for now
        self._finished_rounds = 0
        self._present: tuple[int, ...] | None = None

    def stop_when(self, stopped: Callable[[], bool]) -> None:
        """Call `stopped` while waiting; once it returns `True` the run ends with `RunFailed`."""
        self._stopped = stopped

    def start_after(self, server_round: int) -> None:
        """Count rounds on from `server_round`, the last one that a checkpoint holds."""
        self._finished_rounds = server_round

    def set_run(self, run: Any) -> None:
        """Delegated to the inner grid."""
        self._grid.set_run(run)

    @property
    def run(self) -> Any:
        """Flower's record of the run."""
        return self._grid.run

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        """Deprecated by Flower; delegated to the inner grid."""
        return self._grid.create_message(*args, **kwargs)

    def get_node_ids(self) -> Iterable[int]:
        """The nodes of the roster that are online, the same ones until the next round; raises `TooFewSites`."""
        if self._present is None:
            self._present = self._gather()
        return list(self._present)

    def sites(self) -> Mapping[SiteId, int]:
        """The roster's sites that are online, with their nodes; raises `TooFewSites`."""
        return {self._sites[node]: node for node in self.get_node_ids()}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Delegated to the inner grid."""
        pushed: Iterable[str] = self._grid.push_messages(messages)
        return pushed

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Delegated to the inner grid."""
        pulled: Iterable[Message] = self._grid.pull_messages(message_ids)
        return pulled

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """One round of useful answers. Raises `TooFewSites` when they are fewer than the plan's minimum."""
        del timeout  # the plan's own applies
        useful = self.exchange(list(messages))
        if len(useful) < self.plan.minimum_sites:
            raise TooFewSites(present=str(len(useful)), minimum=str(self.plan.minimum_sites))
        return useful

    def undecided(self) -> tuple[SiteId, ...]:
        """Ask every site of the roster that is online whether it takes part; returns those that have yet to decide.

        Nothing is counted or trained for that, and nothing recorded. Raises `TooFewSites` where too few are online.
        """
        config = ConfigRecord({records.PLAN: self.signed, records.STAGE: records.READY})
        asked = [
            Message(RecordDict({records.CONFIG: config}), dst_node_id=node, message_type="query")
            for node in self.get_node_ids()
        ]
        replies, _ = self._collect(asked, "asks who takes part", min(_READY_SECONDS, self.plan.timeout_seconds))
        self._present = None
        waits = (site for site, reply in replies.items() if reply.has_error() and is_waiting(str(reply.error.reason)))
        return tuple(sorted(waits))

    def exchange(self, messages: list[Message]) -> list[Message]:
        """Send, wait until all sites have answered or the plan's timeout is over, and record each answer.

        Returns the useful ones: no refusals, and of training none that `answers.problem_of` finds bad.
        """
        server_round = self.round_of(messages[0]) if messages else 0
        sent = [self._renumbered(message) for message in messages]
        kind = sent[0].metadata.message_type if sent else ""
        by_site, missed = self._collect(sent, f"{kind}, round {server_round}", self.plan.timeout_seconds)
        useful = []
        for site in sorted(by_site):  # sums of floats keep their order
            answer = self._answer(site, by_site[site], sent[0], server_round)
            self.answers.append(answer)
            useful += [by_site[site]] if answer.refusal is None else []
        self.answers += [Answer(site, kind, server_round, {}, why) for site, why in sorted(missed.items())]
        self._present = None
        return useful

    def _collect(
        self, messages: list[Message], what: str, seconds: float
    ) -> tuple[dict[SiteId, Message], dict[SiteId, str]]:
        """Send, and wait for `seconds` at most: the replies by site, and why others gave none."""
        self._check_stopped()
        sites = [self._sites[message.metadata.dst_node_id] for message in messages]
        pushed = list(zip(self.push_messages(messages), sites, strict=True))
        asked = {name: site for name, site in pushed if name}
        waiting = set(asked)
        deadline = time.monotonic() + seconds
        replies: dict[SiteId, Message] = {}
        while waiting and time.monotonic() < deadline:
            arrived = list(self.pull_messages(waiting))
            for reply in arrived:
                waiting.discard(reply.metadata.reply_to_message_id)
                replies[asked[reply.metadata.reply_to_message_id]] = reply
            if waiting and not arrived:
                self._check_stopped()
                self._say(what, [asked[name] for name in waiting])
                self._grid.wait(_CHECK_SECONDS)
        self._grid.forget(waiting)
        missed = {site: "it no longer takes part" for name, site in pushed if not name}
        return replies, missed | {asked[name]: "it did not answer in time" for name in waiting}

    def round_of(self, message: Message) -> int:
        """The round of a message that is to be sent, counted on from the checkpoint; 0: it has none."""
        number = int(message.content[records.CONFIG].get(records.ROUND, 0))
        return number and number + self._finished_rounds

    def site_of(self, reply: Message) -> SiteId | None:
        """The site that a reply came from, as Flower authenticated its node."""
        return self._sites.get(reply.metadata.src_node_id)

    def _check_stopped(self) -> None:
        if self._stopped():
            raise RunFailed(problem="it was stopped")

    def _answer(self, site: SiteId, reply: Message, asked: Message, server_round: int) -> Answer:
        kind, task = asked.metadata.message_type, self.plan.learning
        if reply.has_error() and reply.error.code == LOST:
            return Answer(site, kind, server_round, {}, "it was lost before it answered")
        if reply.has_error():
            return Answer(site, kind, server_round, {}, str(reply.error.reason)[:300])
        if task is not None and (problem := problem_of(reply, asked, self.plan, task)):
            return Answer(site, kind, server_round, {}, f"its answer does not count: {problem}")
        metrics = reply.content.get(records.METRICS) or {}
        figures = {key: float(value) for key, value in metrics.items() if isinstance(value, int | float)}
        return Answer(site, kind, server_round, figures, None)

    def _say(self, what: str, sites: Iterable[SiteId]) -> None:
        self.progress(f"{what}: waits for {', '.join(sorted(sites))}")

    def _renumbered(self, message: Message) -> Message:
        """Count rounds on from a checkpoint: Flower's strategies always start at 1."""
        config = message.content.get(records.CONFIG)
        if self._finished_rounds == 0 or not isinstance(config, ConfigRecord) or records.ROUND not in config:
            return message
        renumbered = ConfigRecord({**config, records.ROUND: self.round_of(message)})
        content = RecordDict({**message.content, records.CONFIG: renumbered})
        return Message(content, dst_node_id=message.metadata.dst_node_id, message_type=message.metadata.message_type)

    def _gather(self) -> tuple[int, ...]:
        start, longest = time.monotonic(), min(_GATHER_SECONDS, self.plan.timeout_seconds)
        while True:
            self._sites = {node: site for site, node in self._nodes().items() if site in self.plan.roster}
            present = tuple(node for node in self._grid.get_node_ids() if node in self._sites)
            waited = time.monotonic() - start
            self._absent -= {self._sites[node] for node in present}
            missing = {*self._sites.values()} - {self._sites[node] for node in present} - self._absent
            if len(present) >= self.plan.minimum_sites and (not missing or waited > min(_GRACE_SECONDS, longest)):
                self._absent |= missing
                return present
            absent = {*self.plan.roster} - {self._sites[node] for node in present}
            if waited > longest:
                self.answers += [Answer(site, "", 0, {}, "it was absent") for site in sorted(absent)]
                raise TooFewSites(present=str(len(present)), minimum=str(self.plan.minimum_sites))
            self._check_stopped()
            self._say("gathering", absent)
            self._grid.wait(_CHECK_SECONDS)


def is_waiting(refusal: str) -> bool:
    """Whether a site refused a message because it has yet to decide on the run."""
    return refusal.startswith(records.WAITS)


class GridExchange:
    """Carries one step of a secure sum as Flower messages; satisfies `shared.federation.exchange.Exchange`.

    The steps are queries, or of the kind and round of the message `asked`, whose arrays go with the step `mask`.
    """

    def __init__(self, grid: RosterGrid, asked: Message | None = None) -> None:
        self._grid = grid
        self._asked = asked
        self._kind = asked.metadata.message_type if asked else "query"

    def __call__(self, stage: str, requests: Mapping[SiteId, bytes]) -> Mapping[SiteId, bytes]:
        """Send each request to its site; a site that is offline, refuses or answers without a payload is left out."""
        present = self._grid.sites()
        messages = [
            Message(self._content(stage, payload), dst_node_id=present[site], message_type=self._kind)
            for site, payload in requests.items()
            if site in present
        ]
        answers = {}
        for reply in self._grid.exchange(messages):
            site = self._grid.site_of(reply)
            payload = records.payload_of(reply.content)
            answers.update({site: payload} if site is not None and payload is not None else {})
        return answers

    def _content(self, stage: str, payload: bytes) -> RecordDict:
        fields = {records.PLAN: self._grid.signed, records.STAGE: stage, records.PAYLOAD: payload}
        if self._asked is None:
            return RecordDict({records.CONFIG: ConfigRecord(fields)})
        sent = self._asked.content
        config = ConfigRecord({**fields, records.ROUND: sent[records.CONFIG][records.ROUND]})
        arrays = {records.ARRAYS: sent[records.ARRAYS]} if stage == "mask" else {}
        return RecordDict({records.CONFIG: config, **arrays})
