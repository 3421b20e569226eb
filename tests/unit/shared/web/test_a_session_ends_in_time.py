"""A session ends after half an hour without a person, after twelve hours, with the machine, and with its person."""

from hypothesis import given
from hypothesis import strategies as st

from shared.web.people import People, Person
from shared.web.sessions import IDLE_SECONDS, MOST_SECONDS, Moment, Sessions, machine_time
from shared.web.store import Store
from tests.factories.consoles import PASSPHRASE, Browser, Notes, Role, make_console, open_store


class Clock:
    def __init__(self) -> None:
        self.moment = Moment("boot", 1000.0)

    def __call__(self) -> Moment:
        return self.moment

    def move(self, seconds: float) -> None:
        self.moment = self.moment._replace(seconds=self.moment.seconds + seconds)


def joined(store: Store) -> Person:
    people = People(store)
    return people.join(people.invite("Ann", Role.READER), None)


@given(pauses=st.lists(st.floats(0, 2 * IDLE_SECONDS), min_size=1, max_size=40), is_active=st.booleans())
def test_a_session_ends_in_time(pauses: list[float], is_active: bool) -> None:
    """It is open as long as no pause is half an hour and all are less than twelve hours; then for good.

    What a page asks by itself prolongs nothing. Activity is noted to the half minute.
    """
    clock = Clock()
    with open_store() as store:
        sessions = Sessions(store, clock)
        token = sessions.begin(joined(store))
        idle = total = 0.0
        for pause in pauses:
            clock.move(pause)
            idle, total = idle + pause, total + pause
            is_open = sessions.person_of(token, is_active=is_active) is not None
            assert not is_open or (idle < IDLE_SECONDS and total < MOST_SECONDS)
            assert is_open or idle >= IDLE_SECONDS - 30 or total >= MOST_SECONDS
            if not is_open:
                clock.moment = Moment("boot", 1000.0)
                assert sessions.person_of(token) is None
                break
            idle = 0.0 if is_active else idle


def test_no_clock_lengthens_a_session() -> None:
    """The machine's own time counts, not the wall clock; after a new start, or with a time before, nobody is in."""
    clock = Clock()
    with open_store() as store:
        sessions = Sessions(store, clock)
        person = joined(store)
        first, second = sessions.begin(person), sessions.begin(person)
        clock.move(-1)
        assert sessions.person_of(first) is None
        clock.moment = Moment("another boot", 1000.0)
        assert sessions.person_of(second) is None
    assert machine_time().boot == machine_time().boot
    assert machine_time().seconds <= machine_time().seconds


def test_who_is_removed_is_out_at_once() -> None:
    """Their next request, in whatever browser, is a stranger's; so is that after signing out."""
    with open_store() as store:
        console = make_console(Notes(), store)
        ann, bob = Browser(console), Browser(console)
        ann.join(store, "Ann")
        bob.join(store, "Bob")
        People(store).remove("Ann")
        assert ann.get("/").headers["location"] == "/sign-in"
        assert ann.send("/notes", note="x") == 401
        cookie = dict(bob.cookies)
        assert bob.send("/sign-out") == 303
        bob.cookies.update(cookie)
        assert bob.get("/").status_code == 303


def test_signing_in_makes_a_new_cookie() -> None:
    """A cookie that somebody set before is worth nothing after; a wrong passphrase signs nobody in."""
    with open_store() as store:
        people = People(store)
        people.join(people.invite("Ann", Role.WRITER), PASSPHRASE)
        browser = Browser(make_console(Notes(), store))
        browser.open("/sign-in")
        [before] = browser.cookies.values()
        assert browser.send("/sign-in", name="Ann", passphrase="wrong") == 401
        assert browser.send("/sign-in", name="Ann", passphrase=PASSPHRASE) == 303
        [after] = browser.cookies.values()
        assert before != after
        assert browser.said.headers["set-cookie"].split("; ", 1)[1] == (
            "HttpOnly; Max-Age=43200; Path=/; SameSite=strict"
        )
