"""What holds for every test."""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from shared.errors.base import InternalError
from tests.peers import empty_database, postgres_url

settings.register_profile("any-machine", deadline=None)  # a busy machine breaks no law
settings.load_profile("any-machine")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A server, for every test of the session."""
    with postgres_url() as url:
        yield url


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """What `coordinator.toml` says of a new database, of each kind; empty for SQLite in the home."""
    return "" if request.param == "sqlite" else empty_database(request.getfixturevalue("postgres"))


@pytest.fixture(autouse=True)
def no_answer_is_a_defect(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where programs are joined, no side in this process makes an `internal-error` or reads one in an answer."""
    made = list[str]()

    def note(error: InternalError, private: str = "", **fields: str) -> None:
        made.append(private or "without a text")
        super(InternalError, error).__init__(private, **fields)

    if request.path.parent.name in {"integration", "e2e"}:
        monkeypatch.setattr(InternalError, "__init__", note)
    yield
    assert not made


@pytest.fixture(autouse=True)
def logging_of_its_own() -> Iterator[None]:
    """A command run in this process configures logging to streams that its test closes; the next test starts plain."""
    yield
    structlog.reset_defaults()
