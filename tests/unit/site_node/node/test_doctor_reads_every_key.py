"""A home without one of its keys is said to have a problem, whichever it is."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.examination import Health
from site_node.home.folder import SiteHome, init_home
from site_node.node.doctor import examine


@pytest.mark.parametrize("key", ["signing_key", "tls_key", "flower_key", "pseudonym_key"])
@pytest.mark.parametrize("damage", ["missing", "empty"])
def test_doctor_reads_every_key(tmp_path: Path, key: str, damage: str) -> None:
    """Missing or empty; a home with all of them has none."""
    home = init_home(tmp_path / "home", name="General")
    file = getattr(home, key)
    content = file.read_bytes()
    file.unlink()
    if damage == "empty":
        file.write_bytes(b"")
        file.chmod(0o600)
    assert keys_of(tmp_path / "home") is Health.PROBLEM
    file.write_bytes(content)
    file.chmod(0o600)
    assert keys_of(tmp_path / "home") is Health.GOOD


def keys_of(folder: Path) -> Health:
    """How the keys of a home are."""
    return next(each.health for each in examine(SiteHome(folder), datetime.now(UTC)) if each.part == "keys")
