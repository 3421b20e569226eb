"""An invitation's link is used once, by sending a form, and by nobody after its time, its successor or its person."""

from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors.console import InvitationInvalid, PersonExists, SignInRefused
from shared.errors.inputs import InvalidArgument, NotFound
from shared.web import people as people_module
from shared.web.people import People
from shared.web.store import Store
from tests.factories.consoles import PASSPHRASE, Browser, Notes, Role, make_console, open_store


def test_a_link_is_used_by_a_form_and_once() -> None:
    """Looking at it uses nothing; two passphrases that differ use nothing; after it was used it is no link."""
    with open_store() as store:
        browser, other = Browser(make_console(Notes(), store)), Browser(make_console(Notes(), store))
        link = f"/invitation/{People(store).invite('Ann Miller', Role.READER)}"
        assert all("Welcome, Ann Miller" in browser.open(link) for _ in range(3))
        assert browser.send(link, passphrase=PASSPHRASE, again=PASSPHRASE + "!") == 200
        assert browser.send(link, passphrase="short", again="short") == 400
        other.open(link)
        assert browser.send(link, passphrase=PASSPHRASE, again=PASSPHRASE) == 303
        assert other.send(link, passphrase=PASSPHRASE, again=PASSPHRASE) == 401
        assert "This link is not valid" in other.said.text
        assert other.get(link).status_code == 401
        assert "Ann Miller, reader" in browser.open("/")


def test_a_link_alone_signs_in_once() -> None:
    """Where no passphrase is asked, whoever has the link is the person, once."""
    with open_store() as store:
        console = make_console(Notes(), store, by_link_alone=True)
        link = f"/invitation/{People(store).invite('operator', Role.WRITER)}"
        browser, other = Browser(console), Browser(console)
        browser.open(link)
        other.open(link)
        assert (browser.send(link), other.send(link)) == (303, 401)
        browser.open("/")
        assert browser.send("/sign-out") == 303
        page = browser.open("/sign-in")
        assert "start it again" in page
        assert "passphrase" not in page.casefold()


def test_a_later_link_ends_the_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    """So does its time, and being removed."""
    with open_store() as store:
        people = People(store)
        first, second = (people.invite("Ann Miller", Role.READER) for _ in range(2))
        for secret in (first, "", "x" * 10_000, second + "="):
            with pytest.raises(InvitationInvalid):
                people.invited(secret)
        assert people.invited(second).name == "Ann Miller"
        people.remove("ann miller")
        with pytest.raises(InvitationInvalid):
            people.join(second, PASSPHRASE)
        monkeypatch.setattr(people_module, "INVITATION_DAYS", -timedelta.resolution.total_seconds())
        with pytest.raises(InvitationInvalid):
            people.invited(people.invite("Ann Miller", Role.READER))


def test_who_joined_is_not_invited_again() -> None:
    """Nobody takes a person's place by an invitation; once removed, the name is free and signs nobody in."""
    with open_store() as store:
        people = People(store)
        people.join(people.invite("Ann  Miller", Role.READER), PASSPHRASE)
        assert people.sign_in("Ann Miller", PASSPHRASE).role == Role.READER
        with pytest.raises(PersonExists):
            people.invite("ANN MILLER", Role.WRITER)
        people.remove("Ann Miller")
        with pytest.raises(SignInRefused):
            people.sign_in("Ann Miller", PASSPHRASE)
        with pytest.raises(NotFound):
            people.remove("Ann Miller")
        assert people.all() == ()


@pytest.mark.parametrize("name", ["", "  ", "a\x00b", "x" * 101])
def test_a_name_is_a_line(name: str) -> None:
    """What cannot be read in a list of people is none."""
    with open_store() as store, pytest.raises(InvalidArgument):
        People(store).invite(name, Role.READER)


def test_no_secret_can_be_read_in_the_file(tmp_path: Path) -> None:
    """Links, cookies and passphrases are digests there, and the file is its owner's."""
    file = tmp_path / "people.sqlite"
    with open_store(file) as store:
        browser = Browser(make_console(Notes(), store))
        browser.join(store, "Ann Miller")
        [cookie] = browser.cookies.values()
        link = People(store).invite("Bob", Role.READER)
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"Ann Miller" in content
    assert not [text for text in (cookie, link, PASSPHRASE) if text.encode() in content]
    assert file.stat().st_mode & 0o777 == 0o600
    with open_store(file) as store:
        assert [(person.name, person.has_joined) for person in People(store).all()] == [
            ("Ann Miller", True),
            ("Bob", False),
        ]


def test_people_outlast_the_program(tmp_path: Path) -> None:
    """A file of a newer release is refused, and one of this release opened as it was."""
    file = tmp_path / "people.sqlite"
    with open_store(file) as store, store.changing() as db:
        db.execute("pragma user_version = 99")
    with pytest.raises(Exception, match="newer release"):
        Store(file)
