"""Passphrases are kept by Argon2id, and whoever guesses waits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors.console import SignInRefused, SignInThrottled
from shared.errors.inputs import InvalidArgument
from shared.web.passphrases import Throttle, is_kept, keep
from shared.web.people import People
from tests.factories.consoles import PASSPHRASE, Role, open_store


def test_a_passphrase_is_kept_as_argon2id() -> None:
    """With the parameters that RFC 9106 recommends; composed and decomposed letters are the same."""
    kept = keep("Zoë's passphrase")
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert is_kept("Zoe\u0308's passphrase", kept)
    assert not is_kept("Zoe's passphrase", kept)
    assert not is_kept("Zoë's passphrase", None)
    for passphrase in ("x" * 11, "x" * 201):
        with pytest.raises(InvalidArgument):
            keep(passphrase)


@given(waits=st.lists(st.floats(0, 100), max_size=60))
def test_failures_make_waits(waits: list[float]) -> None:
    """Five failures are free, then an attacker who never pauses has at most one try a minute before long."""
    now = 0.0
    throttle = Throttle(lambda: now)
    failures, tried, waited = 0, 0, list[tuple[int, int]]()
    for wait in waits:
        now += wait
        try:
            throttle.check("ann")
        except SignInThrottled as error:
            waited.append((failures, int(error.fields["seconds"])))
            continue
        tried += 1
        throttle.failed("ann")
        failures += 1
    assert all(count > 5 and 1 <= seconds <= 61 for count, seconds in waited)
    assert tried <= 12 + now / 60
    throttle.check("bob")
    throttle.succeeded("ann")
    throttle.check("ann")


def test_names_that_nobody_has_fill_no_memory() -> None:
    """A thousand are remembered."""
    throttle = Throttle()
    for number in range(1500):
        throttle.failed(str(number))
    assert len(throttle._failures) == 1000


def test_a_sign_in_is_throttled(monkeypatch: pytest.MonkeyPatch) -> None:
    """After six failures the right passphrase has to wait, too."""
    with open_store() as store:
        people = People(store)
        people.join(people.invite("Ann", Role.READER), PASSPHRASE)
        monkeypatch.setattr("shared.web.people.is_kept", lambda passphrase, kept: kept and passphrase == PASSPHRASE)
        for _ in range(6):
            with pytest.raises(SignInRefused):
                people.sign_in("ANN ", "wrong")
        with pytest.raises(SignInThrottled):
            people.sign_in("Ann", PASSPHRASE)
