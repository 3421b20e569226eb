"""The SQLite file of a console's people."""

from pathlib import Path

from shared.sqlite_file import SqliteFile

STEPS = (
    """
create table people (
    number integer primary key autoincrement, name text not null unique collate nocase, role text not null,
    passphrase text, since text not null
) strict;
create table invitations (
    digest text primary key, person integer not null unique references people (number) on delete cascade,
    expires_at text not null
) strict, without rowid;
create table sessions (
    digest text primary key, person integer not null references people (number) on delete cascade,
    boot text not null, began real not null, seen real not null
) strict, without rowid;
create index sessions_by_person on sessions (person);
""",
)


class Store(SqliteFile):
    """The file, or one in memory; raises what `SqliteFile` raises."""

    def __init__(self, file: Path | None) -> None:
        super().__init__(file, STEPS)
