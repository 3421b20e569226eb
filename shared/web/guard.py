"""What stands before every page: whose request it is, how large, how long; and the headers of every answer.

A pure ASGI middleware, so that nothing answers past it.
"""

import asyncio
from collections.abc import Callable, Collection
from types import MappingProxyType

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors.base import InternalError, RicordError
from shared.errors.console import ConsoleBusy, FormForeign, HostForeign, PageMissing, RequestTooLarge, RequestTooSlow

log = structlog.get_logger(__name__)

REQUEST_SECONDS = 60.0  # from a request's head to the end of its answer
MOST_REQUESTS = 64  # at once
SECURITY_HEADERS = MappingProxyType(
    {
        "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
        "form-action 'self'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
)


class Guard:
    """Refuses what is not of this console's own pages; `refusal` makes the answer to an error."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str],
        origins: Collection[str],
        most_bytes: int,
        refusal: Callable[[RicordError], Response],
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._origins = origins
        self._most_bytes = most_bytes
        self._refusal = refusal
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens in it."""
        if scope["type"] != "http":
            return
        answer = _Answer(send)
        body = _Body(receive, self._most_bytes)
        self._running += 1
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                try:
                    self._check(scope)
                    await self._app(scope, body, answer)
                except RicordError as error:
                    await body.discard()
                    await self._refuse(error, scope, answer)
                except Exception as error:  # noqa: BLE001 -- a defect of a page is an answer too
                    log.error("console.defect", kind=type(error).__name__)
                    await self._refuse(InternalError(), scope, answer)
        except TimeoutError:
            await self._refuse(RequestTooSlow(), scope, answer)
        finally:
            self._running -= 1

    def _check(self, scope: Scope) -> None:
        """Raise an error for a request that is none of a page of ours."""
        headers = Headers(scope=scope)
        if self._running > MOST_REQUESTS:
            raise ConsoleBusy
        if headers.getlist("host") != [headers.get("host", "")] or headers["host"].lower() not in self._hosts:
            raise HostForeign
        if scope["method"] not in {"GET", "HEAD", "POST"}:
            raise PageMissing
        if scope["method"] == "POST" and not self._is_own(headers):
            raise FormForeign

    def _is_own(self, headers: Headers) -> bool:
        """Whether a page of ours sent it.

        With `no-referrer` a browser writes `null` as the Origin of a form (Fetch, 3.1); then it says by
        `Sec-Fetch-Site`, which no script can set, where the form stood.
        """
        origins, sites = headers.getlist("origin"), headers.getlist("sec-fetch-site")
        if sites not in ([], ["same-origin"]) or len(origins) != 1:
            return False
        return origins[0].lower() in self._origins or (origins[0] == "null" and sites == ["same-origin"])

    async def _refuse(self, error: RicordError, scope: Scope, answer: "_Answer") -> None:
        """Answer with an error's sentence, unless an answer has begun."""
        if not answer.has_begun:
            response = self._refusal(error)
            if isinstance(error, RequestTooSlow):  # the rest of its body may never come
                response.headers["Connection"] = "close"
            await response(scope, _nothing, answer)


class _Answer:
    """`send`, with the headers that every answer has."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            MutableHeaders(scope=message).update(SECURITY_HEADERS)
        await self._send(message)


class _Body:
    """`receive`, which ends where more comes than a page takes."""

    def __init__(self, receive: Receive, most_bytes: int) -> None:
        self._receive = receive
        self._most = most_bytes
        self._size = 0
        self._is_whole = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        self._is_whole = message["type"] == "http.disconnect" or not message.get("more_body", False)
        if self._size > self._most:
            raise RequestTooLarge(most=str(self._most))
        return message

    async def discard(self) -> None:
        """Read what is left, and keep nothing: a browser shows no answer before it has sent its form."""
        while not self._is_whole:
            message = await self._receive()
            self._is_whole = message["type"] == "http.disconnect" or not message.get("more_body", False)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
