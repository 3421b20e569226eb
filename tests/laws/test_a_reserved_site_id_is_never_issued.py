"""A reserved SITEID is never issued, and every SITEID in the pages' and the programs' examples is reserved."""

import re
from pathlib import Path

import pytest

from coordinator.agreements.service import new_site_id
from coordinator.store.sql import open_store
from shared.ids import RESERVED_SITE_IDS, SiteId

ROOT = Path(__file__).parents[2]
PRODUCT = [path for room in ("site_node", "coordinator", "shared") for path in sorted((ROOT / room).rglob("*.py"))]
PAGES = [ROOT / "README.md", *ROOT.glob("*/README.md"), ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]
EXAMPLE = re.compile(r"""\b([1-9]\d{5})-\d{6}\b|--site-id[ =]([1-9]\d{5})\b|SiteId\(["']([1-9]\d{5})""")


def test_what_is_reserved_or_was_issued_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([*sorted(RESERVED_SITE_IDS), "222222", *sorted(RESERVED_SITE_IDS), "222222", "333333"])
    monkeypatch.setattr(SiteId, "random", classmethod(lambda _: SiteId(next(drawn))))
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    with store.begin() as work:
        assert [new_site_id(work), new_site_id(work)] == ["222222", "333333"]
    store.close()


def test_the_published_collections_are_reserved() -> None:
    """419639 is the SITEID in the UIDs of RICORD 1a, 1b and 1c."""
    assert "419639" in RESERVED_SITE_IDS


def test_every_example_is_reserved() -> None:
    """Somebody copies an example into a command; no hospital may ever have its number."""
    shown = {
        site_id
        for path in (*PRODUCT, *PAGES)
        for groups in EXAMPLE.findall(path.read_text(encoding="utf-8"))
        for site_id in groups
        if site_id
    }
    assert "123456" in shown, "the search finds the examples"
    assert shown <= RESERVED_SITE_IDS
