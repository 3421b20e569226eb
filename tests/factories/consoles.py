"""A small console: two roles, a page to see, a form to send, a page that fails, and browsers without windows."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx

from shared.web.console import Console, Frame, Page
from shared.web.people import People
from shared.web.settings import ConsoleSettings
from shared.web.store import Store
from shared.web.visit import Answer, Content, Redirect, Shown, Visit

PASSPHRASE = "correct horse battery"
PORT = 8444
SETTINGS = ConsoleSettings(port=PORT)
ORIGIN = f"http://127.0.0.1:{PORT}"
_CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


class Role(StrEnum):
    READER = "reader"
    WRITER = "writer"


READERS, WRITERS = frozenset(Role), frozenset({Role.WRITER})
ROLES = {
    "GET /": READERS,
    "GET /thing/{name}": READERS,
    "GET /picture": READERS,
    "GET /defect": READERS,
    "GET /notes": WRITERS,
    "POST /notes": WRITERS,
}


class Notes:
    """What the console's pages show and keep."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str]] = []

    def pages(self) -> tuple[Page, ...]:
        return (
            Page("GET", "/", lambda _: Shown("error.html", {"sentence": "The first page."})),
            Page("GET", "/thing/{name}", lambda visit: Shown("error.html", {"sentence": visit.values["name"]})),
            Page("GET", "/picture", lambda _: Content(b"\x89PNG", "image/png")),
            Page("GET", "/defect", self.fail),
            Page("GET", "/notes", lambda _: Shown("error.html", {"sentence": "Notes."})),
            Page("POST", "/notes", self.keep),
        )

    def keep(self, visit: Visit) -> Answer:
        self.kept.append((visit.person.name, visit.form.text("note")))
        return Redirect("/notes")

    def fail(self, visit: Visit) -> Answer:
        raise ZeroDivisionError(visit.person.name)


def make_console(
    notes: Notes, store: Store, settings: ConsoleSettings = SETTINGS, *, by_link_alone: bool = False
) -> Console:
    frame = Frame("Test console", (), (("/", "First"), ("/notes", "Notes")), by_link_alone=by_link_alone)
    return Console(frame, settings, store, notes.pages(), ROLES)


@contextmanager
def open_store(file: Path | None = None) -> Iterator[Store]:
    with closing(Store(file)) as store:
        yield store


class Browser:
    """A client without sockets that keeps cookies and sends forms as a browser does."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.cookies = httpx.Cookies()
        self.csrf = ""

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        data: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        """The answer to one request."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._console)
            kept = {"base_url": ORIGIN, "cookies": self.cookies, "trust_env": False}
            async with httpx.AsyncClient(transport=transport, **kept) as client:  # type: ignore[arg-type] # as named
                answer = await client.request(method, path, headers=headers, data=data, content=content)
                self.cookies = client.cookies
                return answer

        return asyncio.run(ask())

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, **sent: Any) -> httpx.Response:
        return self.request("POST", path, **sent)

    def open(self, path: str) -> str:
        """A page's text; its form's token is kept."""
        response = self.get(path)
        assert response.status_code == 200, response.text
        match = _CSRF.search(response.text)
        self.csrf = match[1] if match else self.csrf
        return response.text

    def send(self, path: str, *, origin: str = ORIGIN, **fields: str) -> int:
        """Send a form with the token of the page that was opened last; the status of the answer."""
        self.said = self.post(path, data={"csrf": self.csrf, **fields}, headers={"Origin": origin})
        return self.said.status_code

    def join(self, store: Store, name: str, role: str = Role.WRITER) -> None:
        """Be invited, and join."""
        link = f"/invitation/{People(store).invite(name, role)}"
        self.open(link)
        assert self.send(link, passphrase=PASSPHRASE, again=PASSPHRASE) == 303, self.said.text
        self.open("/")
