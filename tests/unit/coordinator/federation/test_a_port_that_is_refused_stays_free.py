"""The fleet port is bound or named as in use; what was opened to try is closed."""

import socket
from typing import Any

import pytest

from coordinator.federation.listener import listen
from shared.errors.settings import PortInUse


def test_a_port_in_use_is_named_and_the_try_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the setting's key."""
    opened = list[socket.socket]()

    class Watched(socket.socket):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            opened.append(self)

    with listen("127.0.0.1", 0) as first:
        first.listen()
        monkeypatch.setattr(socket, "socket", Watched)
        with pytest.raises(PortInUse) as refused:
            listen("127.0.0.1", first.getsockname()[1])
    assert refused.value.fields["key"] == "fleet_port"
    assert [each.fileno() for each in opened] == [-1]
