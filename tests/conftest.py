"""What holds for every test."""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

settings.register_profile("any-machine", deadline=None)  # a busy machine breaks no law
settings.load_profile("any-machine")


@pytest.fixture(autouse=True)
def logging_of_its_own() -> Iterator[None]:
    """A command run in this process configures logging to streams that its test closes; the next test starts plain."""
    yield
    structlog.reset_defaults()
