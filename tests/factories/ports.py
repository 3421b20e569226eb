"""Ports of loopback for what tests start.

They lie below those that Linux gives to connections (from 32768), so that none is lost between its drawing and its use;
each process goes round from a place of its own, so that tests may run beside each other.
"""

import itertools
import secrets
import socket

_FIRST, _COUNT = 12_000, 20_000
_PORTS = (_FIRST + place % _COUNT for place in itertools.count(secrets.randbelow(_COUNT)))


def free_port() -> int:
    """A port that nobody listens on now, and that this process has not been given before."""
    return next(port for port in _PORTS if _is_free(port))


def free_ports(count: int) -> list[int]:
    """`count` of them."""
    return [free_port() for _ in range(count)]


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
