"""What drafting and executing promise, against a real store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.agreements.service import RESERVED_SITE_IDS, new_site_id
from coordinator.agreements.text import agreement_text
from coordinator.store.sql import SqlStore, open_store
from shared.ids import SiteId


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    yield opened
    opened.close()


def test_a_published_site_id_is_never_issued(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one that was issued before."""
    drawn = iter([*sorted(RESERVED_SITE_IDS), "222222", "222222", "333333"])
    monkeypatch.setattr(SiteId, "random", classmethod(lambda _: SiteId(next(drawn))))
    with store.begin() as work:
        assert new_site_id(work) == "222222"
        assert new_site_id(work) == "333333"


def test_the_text_is_whole() -> None:
    """The text ships with the package, is plain and names what it must."""
    text = agreement_text()
    for word in ("de-identif", "licence", "withdraw", "curator", "ethics", "terminate", "amendment"):
        assert word in text.lower()
    assert text.isascii()
