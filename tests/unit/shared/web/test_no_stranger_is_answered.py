"""Nobody but a person at a page of this console sees or changes anything: by Host, Origin, cookie, token and role."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.web.console import Console, Frame, Page
from shared.web.guard import SECURITY_HEADERS
from shared.web.visit import Shown
from tests.factories.consoles import (
    ORIGIN,
    PORT,
    ROLES,
    SETTINGS,
    Browser,
    Notes,
    Role,
    make_console,
    open_store,
)

TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)


def test_a_foreign_host_is_refused() -> None:
    """A name of somebody else's that resolves to this machine shows nothing, not even the sign-in."""
    with open_store() as store:
        browser = Browser(make_console(Notes(), store))

        @given(host=TEXT | st.sampled_from(["", "evil.example", "127.0.0.1", f"localhost.evil:{PORT}", "localhost:80"]))
        def check(host: str) -> None:
            known = host.lower() in SETTINGS.hosts
            assert browser.get("/sign-in", headers={"Host": host}).status_code == (200 if known else 403)

        check()
        for host in (f"localhost:{PORT}", f"LOCALHOST:{PORT}", f"[::1]:{PORT}"):
            assert browser.get("/sign-in", headers={"Host": host}).status_code == 200


def test_a_foreign_page_changes_nothing() -> None:
    """A form counts with our Origin, or with none that says so, and with the session's token."""
    notes = Notes()
    with open_store() as store:
        browser = Browser(make_console(notes, store))
        browser.join(store, "Ann")
        token = browser.csrf

        @given(origin=TEXT | st.sampled_from(["null", "http://127.0.0.1", f"https://127.0.0.1:{PORT}", ORIGIN + "/"]))
        def check_origin(origin: str) -> None:
            if origin.lower() not in SETTINGS.origins:
                assert browser.send("/notes", origin=origin, note="foreign") == 403

        @given(sent=st.text(string.hexdigits, max_size=80) | TEXT)
        def check_token(sent: str) -> None:
            browser.csrf = sent
            if sent != token:
                assert browser.send("/notes", note="foreign") == 403

        check_origin()
        check_token()
        headers = {"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN}
        assert browser.post("/notes", data={"csrf": token, "note": "x"}, headers=headers).status_code == 403
        assert browser.post("/notes", data={"csrf": token, "note": "x"}).status_code == 403
        assert notes.kept == []
        for origin in ({"Origin": ORIGIN}, {"Origin": "null", "Sec-Fetch-Site": "same-origin"}):
            assert browser.post("/notes", data={"csrf": token, "note": "own"}, headers=origin).status_code == 303
        headers = {"Origin": ORIGIN, "X-CSRF-Token": token}
        assert browser.post("/notes", data={"note": "script"}, headers=headers).status_code == 303
        assert [note for _, note in notes.kept] == ["own", "own", "script"]


def test_a_forged_cookie_is_nobodys() -> None:
    """Whatever a cookie holds, without a session it signs nobody in, and breaks nothing."""
    with open_store() as store:
        console = make_console(Notes(), store)

        @given(cookie=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=";"), max_size=200))
        def check(cookie: str) -> None:
            headers = {"Cookie": f"console-{PORT}={cookie}"}
            answer = Browser(console).get("/", headers=headers)
            assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")

        check()


def test_no_path_leads_out() -> None:
    """Assets are those that were read at the start; a path that climbs is no page."""
    with open_store() as store:
        browser = Browser(make_console(Notes(), store))
        browser.join(store, "Ann")

        @given(path=st.lists(st.sampled_from(["..", "%2e%2e", ".", "/", "%2f", "\\", "etc", "settings.py", "%00"])))
        def check(path: list[str]) -> None:
            assert browser.get("/assets/" + "/".join(path)).status_code in {404, 303, 200}
            assert b"import" not in browser.get("/assets/" + "/".join(path)).content

        check()
        assert browser.get("/assets/settings.py").status_code == 404
        assert browser.get("/assets/console.css").headers["content-type"].startswith("text/css")


def test_markup_in_a_name_is_text() -> None:
    """What a person or a path is called is never a page's markup."""
    with open_store() as store:
        browser = Browser(make_console(Notes(), store))
        name = "<script>alert(1)</script>\"'&"
        browser.join(store, name)
        assert "<script>alert" not in browser.open("/")
        assert "&lt;script&gt;alert(1)" in browser.open("/")
        assert "<img" not in browser.open("/thing/<img src=x onerror=alert(1)>")


def test_a_page_is_for_the_roles_of_its_row() -> None:
    """A reader is refused what only writers may, and is not shown the way there."""
    notes = Notes()
    with open_store() as store:
        browser = Browser(make_console(notes, store))
        browser.join(store, "Ann", Role.READER)
        assert 'href="/notes"' not in browser.open("/")
        assert browser.get("/notes").status_code == 403
        assert browser.send("/notes", note="x") == 403
        assert browser.get("/nothing").status_code == 404
        assert browser.request("DELETE", "/notes").status_code == 404
        assert notes.kept == []


def test_a_page_without_a_row_makes_no_console() -> None:
    """Nor does a row without a page: neither can be forgotten."""
    page = Page("GET", "/more", lambda _: Shown("error.html"))
    with open_store() as store:
        for pages, roles in (
            ((*Notes().pages(), page), ROLES),
            (Notes().pages(), {**ROLES, "GET /more": frozenset(Role)}),
            ((*Notes().pages(), Notes().pages()[0]), ROLES),
        ):
            with pytest.raises(ValueError, match="a row for each page"):
                Console(Frame("", (), ()), SETTINGS, store, pages, roles)


def test_every_answer_has_the_headers() -> None:
    """Pages, redirects, pictures, assets, refusals and defects."""
    with open_store() as store:
        browser = Browser(make_console(Notes(), store))
        answers = [browser.get("/"), browser.get("/sign-in"), browser.get("/", headers={"Host": "evil"})]
        browser.join(store, "Ann")
        answers += [browser.get(path) for path in ("/", "/picture", "/defect", "/nothing", "/assets/console.css")]
        answers += [browser.request("HEAD", "/"), browser.post("/notes"), browser.request("PUT", "/notes")]
        for answer in answers:
            assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == dict(SECURITY_HEADERS)
        assert {answer.status_code for answer in answers} == {200, 303, 403, 404, 500}


def test_a_defect_says_no_value() -> None:
    """A page that fails says that it did, and nothing of what it was about."""
    with open_store() as store:
        browser = Browser(make_console(Notes(), store))
        browser.join(store, "Ann Miller")
        answer = browser.get("/defect")
        assert answer.status_code == 500
        assert "defect of its own" in answer.text
        assert "Ann Miller" not in answer.text
        assert "ZeroDivision" not in answer.text


def test_what_a_page_asks_by_itself_is_told_to_sign_in() -> None:
    """A figure that renews itself sends the whole page to the sign-in, and puts no sign-in into itself."""
    with open_store() as store:
        answer = Browser(make_console(Notes(), store)).get("/", headers={"HX-Request": "true"})
        assert (answer.status_code, answer.headers["HX-Redirect"]) == (401, "/sign-in")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded", b"\xff\xfe=&&&%"),
        ("application/x-www-form-urlencoded", b"a=1&" * 5000),
        ("multipart/form-data", b"--x"),
        ("multipart/form-data; boundary=x", b"--x\r\nbroken"),
        ("application/json", b"{}"),
        ("", b"note=x"),
    ],
)
def test_what_is_no_form_is_refused(kind: str, body: bytes) -> None:
    """A sentence, whatever is sent."""
    notes = Notes()
    with open_store() as store:
        browser = Browser(make_console(notes, store))
        browser.join(store, "Ann")
        headers = {"Origin": ORIGIN, "Content-Type": kind, "X-CSRF-Token": browser.csrf}
        assert browser.post("/notes", content=body, headers=headers).status_code in {400, 403}
    assert notes.kept == []
