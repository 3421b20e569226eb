"""Tell systemd how a service stands: a datagram to the socket that it names, as sd_notify(3) says."""

import os
import socket
from contextlib import suppress
from typing import Literal

State = Literal["READY=1", "STOPPING=1", "WATCHDOG=1"]


def notify(state: State) -> None:
    """Send a state; where no supervisor asked for it, or none listens any more, nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] in {"/", "@"}:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line, suppress(OSError):
            line.connect(f"\0{address[1:]}" if address[0] == "@" else address)
            line.send(state.encode(), socket.MSG_DONTWAIT)
