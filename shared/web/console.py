"""A console put together: its pages, who may ask for each, signing in and out, and the answer to every request.

A console is an ASGI application made of `Page`s and a table of roles. The table has a row for each page and for nothing
else, or the console is not made; a role that no row names is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Literal

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from shared.errors.base import ExitCode, RicordError
from shared.errors.console import FormForeign, PageMissing, SignInNeeded
from shared.errors.trust import RoleNotAllowed
from shared.token import new_secret
from shared.web.assets import Assets
from shared.web.forms import read_form
from shared.web.guard import Guard
from shared.web.pages import Pages
from shared.web.people import People, Person
from shared.web.sessions import MOST_SECONDS, Sessions, csrf_of
from shared.web.settings import ConsoleSettings
from shared.web.store import Store
from shared.web.visit import Answer, Content, Form, Redirect, Shown, Visit

_MOST_BYTES = 64 << 20  # of a body of somebody who is signed in; others send a passphrase
_MOST_BYTES_OF_STRANGERS = 64 << 10
_SIGN_IN, _SIGN_OUT, _INVITATION, _ASSETS = "/sign-in", "/sign-out", "/invitation/", "/assets/"
_STATUS = {
    "NOT_FOUND": HTTPStatus.NOT_FOUND,
    "INVALID_ARGUMENT": HTTPStatus.BAD_REQUEST,
    "OUT_OF_RANGE": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "UNAUTHENTICATED": HTTPStatus.UNAUTHORIZED,
    "PERMISSION_DENIED": HTTPStatus.FORBIDDEN,
    "FAILED_PRECONDITION": HTTPStatus.CONFLICT,
    "ALREADY_EXISTS": HTTPStatus.CONFLICT,
    "ABORTED": HTTPStatus.CONFLICT,
    "DEADLINE_EXCEEDED": HTTPStatus.REQUEST_TIMEOUT,
    "RESOURCE_EXHAUSTED": HTTPStatus.TOO_MANY_REQUESTS,
    "UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
}


@dataclass(frozen=True)
class Page:
    """What answers one method of one path, such as `/review/{study}`. `show` runs in a thread of its own."""

    method: Literal["GET", "POST"]
    path: str
    show: Callable[[Visit], Answer]

    @property
    def row(self) -> str:
        """Its row in the table of roles."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Frame:
    """What a console says of itself: title, templates and assets of its packages, and its menu of paths and labels.

    With `by_link_alone` a link signs in whoever has it, once, without a passphrase.
    """

    title: str
    packages: tuple[str, ...]
    menu: tuple[tuple[str, str], ...]
    by_link_alone: bool = False


class Console:
    """The ASGI application. `roles` names for each page, as `GET /review`, who may ask for it."""

    def __init__(
        self,
        frame: Frame,
        settings: ConsoleSettings,
        store: Store,
        pages: Sequence[Page],
        roles: Mapping[str, frozenset[StrEnum]],
    ) -> None:
        if {page.row for page in pages} != set(roles) or len({page.row for page in pages}) != len(pages):
            raise ValueError("the table of roles has a row for each page, and for nothing else")
        self._frame = frame
        self._settings = settings
        self._routes = [(compile_path(page.path)[0], page) for page in pages]
        self._roles = {row: frozenset(map(str, allowed)) for row, allowed in roles.items()}
        self._people = People(store)
        self._sessions = Sessions(store)
        self._pages = Pages(frame.title, frame.packages)
        self._assets = Assets((*frame.packages, "shared.web"))
        self._cookie = f"{'__Host-' if settings.is_encrypted else ''}console-{settings.port}"
        self._guard = Guard(
            self._answer,
            hosts=settings.hosts,
            origins=settings.origins,
            most_bytes=_MOST_BYTES,
            refusal=self._refusal,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._guard(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._response(request)
        await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        """The response to a request; raises `RicordError`."""
        path, token = str(request.scope["path"]), request.cookies.get(self._cookie, "")
        if path.startswith(_ASSETS):
            return self._asset(request, path.removeprefix(_ASSETS))
        is_active = "hx-request" not in request.headers
        person = await run_in_threadpool(self._sessions.person_of, token, is_active=is_active) if token else None
        form = await self._form(request, token, person) if request.method == "POST" else Form()
        if path in {_SIGN_IN, _SIGN_OUT} or path.startswith(_INVITATION):
            return await run_in_threadpool(self._entry, request, token, person, form)
        page, values = self._page(request, path)
        if person is None:
            if request.method == "POST" or not is_active:
                raise SignInNeeded
            return RedirectResponse(_SIGN_IN, status_code=303)
        if person.role not in self._roles.get(page.row, frozenset()):
            raise RoleNotAllowed(role=person.role)
        visit = Visit(person, values, dict(request.query_params), form)
        return await run_in_threadpool(self._shown, page, visit, token)

    def _page(self, request: Request, path: str) -> tuple[Page, dict[str, str]]:
        method = "GET" if request.method == "HEAD" else request.method
        for pattern, page in self._routes:
            if page.method == method and (match := pattern.match(path)):
                return page, match.groupdict()
        raise PageMissing

    async def _form(self, request: Request, token: str, person: Person | None) -> Form:
        """The form that was sent; raises `FormForeign` unless it holds what our page wrote into it."""
        most = _MOST_BYTES if person else _MOST_BYTES_OF_STRANGERS
        if not token or not request.headers.get("content-length", "0").isdecimal():
            raise FormForeign
        if person is None and int(request.headers.get("content-length", most + 1)) > most:
            raise SignInNeeded
        form = await read_form(request)
        sent = form.texts("csrf") or (request.headers.get("x-csrf-token", ""),)
        if sent != (csrf_of(token),):
            raise FormForeign
        return form

    # pages of consoles

    def _shown(self, page: Page, visit: Visit, token: str) -> Response:
        answer = page.show(visit)
        match answer:
            case Redirect(path, notice):
                return RedirectResponse(path + (f"?notice={notice}" if notice else ""), status_code=303)
            case Content(data, media_type, filename, encoding):
                headers = {"Content-Disposition": f'attachment; filename="{filename}"' if filename else "inline"}
                encoded = {"Content-Encoding": encoding} if encoding else {}
                return Response(data, media_type=media_type, headers={**headers, **encoded})
            case Shown(template, values, status):
                known = {"notice": visit.query.get("notice", ""), "path": page.path}
                return self._html(template, {**known, **values}, visit.person, token, status=status)

    def _html(
        self, template: str, values: Mapping[str, object], person: Person | None, token: str, *, status: int = 200
    ) -> Response:
        role = person.role if person else ""
        menu = [(path, label) for path, label in self._frame.menu if role in self._roles[f"GET {path}"]]
        known = {
            "person": person,
            "menu": menu,
            "csrf": csrf_of(token),
            "path": "",
            "notice": "",
            "may": self._may(role),
        }
        return HTMLResponse(self._pages.render(template, {**known, **values}), status_code=status)

    def _may(self, role: str) -> Callable[[str], bool]:
        """For templates: whether the person may ask for a page, so that none shows a button that is refused."""
        return lambda row: role in self._roles[row]

    def _refusal(self, error: RicordError) -> Response:
        """An error's sentence as a page; of a defect only that there was one."""
        status = _STATUS.get(error.text.status, HTTPStatus.INTERNAL_SERVER_ERROR)
        response = self._html("error.html", {"sentence": error.public}, None, "", status=status)
        if isinstance(error, SignInNeeded):
            response.headers["HX-Redirect"] = _SIGN_IN
        return response

    # signing in and out, and what needs no session

    def _asset(self, request: Request, name: str) -> Response:
        asset = self._assets.find(name)
        if asset is None or request.method == "POST":
            raise PageMissing
        return Response(asset.data, media_type=asset.media_type)

    def _entry(self, request: Request, token: str, person: Person | None, form: Form) -> Response:
        """Sign in or out, or use an invitation's link."""
        path, is_post = str(request.scope["path"]), request.method == "POST"
        if path == _SIGN_OUT:
            if not is_post:
                raise PageMissing
            self._sessions.end(token)
            return self._at(_SIGN_IN, new_secret())
        secret = path.removeprefix(_INVITATION)
        try:
            if path != _SIGN_IN:
                return self._invitation(secret, is_post=is_post, token=token, form=form)
            if is_post:
                return self._begin(self._people.sign_in(form.text("name"), form.text("passphrase")))
        except RicordError as error:
            if not is_post or error.text.exit_code is ExitCode.FAILED:
                raise
            return self._asked(path, token, error)
        return RedirectResponse("/", status_code=303) if person else self._asked(path, token, None)

    def _invitation(self, secret: str, *, is_post: bool, token: str, form: Form) -> Response:
        if not is_post:
            return self._asked(_INVITATION + secret, token, None)
        if self._frame.by_link_alone:
            return self._begin(self._people.join(secret, None))
        self._people.invited(secret)  # a link that is used says so before what was typed is judged
        if (passphrase := form.text("passphrase")) != form.text("again"):
            return self._asked(_INVITATION + secret, token, None, differs=True)
        return self._begin(self._people.join(secret, passphrase))

    def _asked(self, path: str, token: str, error: RicordError | None, *, differs: bool = False) -> Response:
        """The page that asks for a passphrase, or for the use of a link; raises `InvitationInvalid`."""
        token = token or new_secret()
        status = _STATUS.get(error.text.status, HTTPStatus.INTERNAL_SERVER_ERROR) if error else HTTPStatus.OK
        by_link = self._frame.by_link_alone
        values: dict[str, object] = {
            "sentence": error.public if error else "",
            "differs": differs,
            "by_link_alone": by_link,
        }
        if path == _SIGN_IN:
            return self._with_cookie(self._html("sign_in.html", values, None, token, status=status), token)
        secret = path.removeprefix(_INVITATION)
        values |= {"invited": self._people.invited(secret), "action": path}
        return self._with_cookie(self._html("invitation.html", values, None, token, status=status), token)

    def _begin(self, person: Person) -> Response:
        return self._at("/", self._sessions.begin(person))

    def _at(self, path: str, token: str) -> Response:
        return self._with_cookie(RedirectResponse(path, status_code=303), token)

    def _with_cookie(self, response: Response, token: str) -> Response:
        response.set_cookie(
            self._cookie,
            token,
            max_age=int(MOST_SECONDS),
            path="/",
            httponly=True,
            samesite="strict",
            secure=self._settings.is_encrypted,
        )
        return response
