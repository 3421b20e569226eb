"""Flower's grid without sockets: messages go straight to the real client app of each site."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from site_node.federate.client_app import app
from site_node.federate.site import CONTEXT_KEY, FederateSettings
from tests.factories.site_homes import known_of


class LocalGrid(Grid):  # type: ignore[misc] # Flower's packages are not followed by mypy
    """Sites by node id; nodes in `away` are offline."""

    def __init__(self, sites: Mapping[int, FederateSettings]) -> None:
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
        self.sites = sites
        self.away: set[int] = set()
        self.seen: list[Message] = []
        self._replies: dict[str, Message] = {}

    def set_run(self, run: Any) -> None:
        """No run here."""

    @property
    def run(self) -> Any:
        """No run here."""
        raise NotImplementedError

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        """Deprecated by Flower."""
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        """The nodes that are online."""
        return [node for node in self.sites if node not in self.away]

    def wait(self, seconds: float) -> None:
        """Answers are there at once, so only an absent site is waited for."""
        time.sleep(min(seconds, 0.1))

    def forget(self, message_ids: Iterable[str]) -> None:
        """Their answers come no more."""
        for name in message_ids:
            self._replies.pop(name, None)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Answer at once."""
        return [self._answer(message, f"m{len(self.seen)}") for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Every answer once."""
        return [self._replies.pop(name) for name in list(message_ids) if name in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Both at once."""
        del timeout
        return self.pull_messages(self.push_messages(messages))

    def _answer(self, message: Message, name: str) -> str:
        message.metadata.__dict__["_message_id"] = name
        self.seen.append(message)
        site = self.sites[message.metadata.dst_node_id]
        config = {CONTEXT_KEY: known_of(site)}
        context = Context(run_id=1, node_id=1, node_config=config, state=RecordDict(), run_config={})
        self._replies[name] = app(message, context)
        return name
