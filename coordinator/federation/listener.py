"""Sockets of the SuperLink, and the paths that each of them serves."""

import socket

from starlette.types import ASGIApp, Receive, Scope, Send

from shared.errors.settings import PortInUse


class PathFilter:
    """One listener's view of the application: paths under `prefix`, and 404 for anything else."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: lifespan events pass; requests outside the prefix and web sockets do not."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"].startswith(self._prefix)):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "websocket.close"})


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; raises `PortInUse`. Port 0 binds a free port, which only loopback listeners use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortInUse(host=host, port=str(port), key="fleet_port") from error
    return listener
