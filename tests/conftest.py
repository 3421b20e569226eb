"""What holds for every test."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import is_hypothesis_test, settings

from shared.errors.base import InternalError
from tests.peers import empty_database, postgres_url

# Two processes of tests share the cores, and each small model would start a thread for every core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What is written here is thrown away, so no disk is waited for, where memory has room for it.
MEMORY, ROOM = Path("/dev/shm"), 8 << 30  # bytes
if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

# How laws draw their examples, by the environment's LAWS; a busy machine breaks none of them.
settings.register_profile("random", deadline=None)
settings.register_profile("repeatable", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("soak", deadline=None, print_blob=True)
PROFILE = os.environ.get("LAWS", "random")
settings.load_profile(PROFILE)
SOAKED = 20  # times as many examples


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each law draw many more examples in a soak, whatever number it names."""
    if PROFILE == "soak":
        for law in {item.function for item in items if isinstance(item, pytest.Function)}:
            if is_hypothesis_test(law):
                named = law._hypothesis_internal_use_settings
                law._hypothesis_internal_use_settings = settings(named, max_examples=SOAKED * named.max_examples)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A server, for every test of the session."""
    with postgres_url() as url:
        yield url


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
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
