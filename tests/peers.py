"""Programs of other projects that some tests speak with."""

import os
import shutil

import pytest


def needs_peer(program: str, package: str | None = None) -> str:
    """The path of `program`; where it is missing the test skips and names the package that brings it.

    With `REQUIRE_PEERS=1` (set where the packages are installed first) a missing program is a failure.
    """
    path = shutil.which(program)
    if path is not None:
        return path
    reason = f"`{program}` is not here; install the package {package or program}"
    if os.environ.get("REQUIRE_PEERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
