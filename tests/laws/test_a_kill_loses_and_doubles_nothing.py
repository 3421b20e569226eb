"""Nothing is lost and nothing is doubled, wherever the node is killed."""

import shutil
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.durable import write_whole
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.node.pipeline import Pipeline
from tests.factories.pipeline import enter, key_of, make_home, make_stages, make_study

NAMES = ("good-1", "partly-2", "excluded-3", "refused-4", "burned-5", "good-6")
ENDS = [State.SUBMITTED, State.SUBMITTED, State.EXCLUDED, State.REFUSED, State.QUARANTINED, State.SUBMITTED]


class Killed(BaseException):
    """Simulates SIGKILL: no handler of ours may run, and none catches a `BaseException` to go on."""


class Fuse:
    """Counts the points where a kill matters, and raises `Killed` at one of them."""

    def __init__(self) -> None:
        self.left = 10**9

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            self.burn()
            result = function(*args, **kwargs)
            self.burn()
            return result

        return watched

    def burn(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


@pytest.fixture(scope="module")
def fuse() -> Any:
    """Every durable write, every move in the ledger and every removal is a point to be killed at."""
    fuse = Fuse()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("site_node.home.records.write_whole", fuse.around(write_whole))
        for name in ("add_study", "advance", "add_files", "sequence"):
            patch.setattr(Ledger, name, fuse.around(getattr(Ledger, name)))
        patch.setattr("site_node.node.leftovers.shutil.rmtree", fuse.around(shutil.rmtree))
        yield fuse


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> SiteHome:
    return make_home(tmp_path_factory.mktemp("template") / "home")


def attempt(home: SiteHome, submitted: Path) -> bool:
    """One process of the node: receive, then run; whether it survived to the end."""
    ledger = Ledger(home.ledger)
    try:
        enter(home, ledger, *(make_study(home, name) for name in NAMES if not is_entered(ledger, name)))
        Pipeline(home, ledger, make_stages(home, submitted)).run()
    except Killed:
        return False
    finally:
        ledger.close()
    return True


def is_entered(ledger: Ledger, name: str) -> bool:
    """Whether the ledger has a study; its source is received again only until then."""
    return ledger.has_study(key_of(name))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kills=st.lists(st.integers(0, 90), max_size=5))
def test_kills_anywhere_change_nothing_in_the_end(
    fuse: Fuse, template: SiteHome, tmp_path_factory: pytest.TempPathFactory, kills: list[int]
) -> None:
    """After any number of kills at any points the outcome is that of one undisturbed run."""
    folder = tmp_path_factory.mktemp("life")
    home = SiteHome(folder / "home")
    shutil.copytree(template.folder, home.folder)
    for point in kills:
        fuse.left = point
        attempt(home, folder / "submitted")
    fuse.left = 10**9
    assert attempt(home, folder / "submitted")
    ledger = Ledger(home.ledger)
    try:
        assert [ledger.study(key_of(name)).state for name in NAMES] == ENDS
        assert ledger.instance_counts() == {"excluded": 3, "quarantined": 2, "refused": 2, "submitted": 5}
        assert {entry.sequence for entry in ledger.studies(State.SUBMITTED)} == {1, 2, 3}
    finally:
        ledger.close()
    assert len(list((folder / "submitted").iterdir())) == 3
    assert {study.name for study in home.spool.iterdir()} == {key_of("burned-5")}
    assert list(home.outbox.iterdir()) == []
    shutil.rmtree(folder)
