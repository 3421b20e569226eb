"""A change is on disk when its block ends; one that says it may wait for the next one costs no sync."""

from sqlalchemy import text

from coordinator.store.records import Upload
from coordinator.store.sql import SqlStore
from shared.ids import Sha256
from tests.factories.rows import NOW, SITE_ID


class TestLaws:
    """What every store promises."""

    def test_the_database_is_told(self, store: SqlStore) -> None:
        """In any order, over the same connections; a change that was not synced is there for everybody, too."""
        for number, synced in enumerate((True, False, False, True, False, True)):
            upload = Upload(name=Sha256(f"{number:064x}"), site_id=SITE_ID, continued_at=NOW)
            with store.begin(synced=synced) as work:
                work.put_upload(upload)
                connection = work._connection
                if connection.dialect.name == "sqlite":
                    assert connection.execute(text("PRAGMA synchronous")).scalar() == (2 if synced else 1)
                else:
                    assert connection.execute(text("SHOW synchronous_commit")).scalar() == ("on" if synced else "off")
            with store.read() as reading:
                assert upload in reading.uploads(SITE_ID)

    def test_what_says_nothing_is_synced_and_what_passes_is_not(self, store: SqlStore) -> None:
        """Whatever else is asked of what passes: it is worth no wait for a disk."""
        for asked, synced in (({"passing": True}, False), ({}, True), ({"passing": True, "synced": True}, False)):
            with store.begin(**asked) as work:
                connection = work._connection
                if store.is_shared:
                    assert connection.execute(text("SHOW synchronous_commit")).scalar() == ("on" if synced else "off")
                else:
                    assert connection.execute(text("PRAGMA synchronous")).scalar() == (2 if synced else 1)
