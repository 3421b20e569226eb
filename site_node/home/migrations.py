"""The ledger's migrations: step n takes a ledger of version n to version n + 1. A released step never changes."""

import re
import secrets
import sqlite3
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from shared.durable import write_whole
from shared.ids import StudyKey
from shared.manifest import SignedManifest
from shared.receipt import Receipt
from shared.signed import Signed
from site_node.home.folder import SiteHome
from site_node.home.records import Records
from site_node.study import Sealed

_FIRST = """
create table if not exists meta (name text primary key, value blob not null) strict;
create table if not exists studies (
    key text primary key, state text not null, reasons text not null default '[]', released text not null default '[]',
    sequence integer unique, study text, receipt text, received_at text not null, changed_at text not null
) strict;
create index if not exists studies_by_state on studies (state);
create table if not exists instances (
    key text not null references studies (key), name text not null, ending text not null, code text not null default '',
    primary key (key, name)
) strict, without rowid;
create table if not exists files (token text primary key, ending text not null, code text not null, at text not null)
    strict, without rowid;
create table if not exists arrivals (token text primary key, at text not null) strict, without rowid;
create table if not exists events (
    number integer primary key autoincrement, at text not null, actor text not null, action text not null,
    key text not null, detail text not null
) strict;
create table if not exists patients (token blob primary key, number integer not null unique, link blob,
    flag text not null default '') strict, without rowid;
create table if not exists requests (
    id text primary key, state text not null, reason text not null default '', attempts integer not null default 0,
    parts text not null default '[]', made_at text not null, changed_at text not null, not_before text not null
) strict, without rowid;
"""
_ADDED_TO_PATIENTS = ("link blob", "flag text not null default ''")  # the first ledgers lack these columns

_SEPARATE_ARRIVALS = """
alter table arrivals rename to inbox_entries;
create table accession_numbers (token text primary key, at text not null) strict, without rowid;
insert into accession_numbers select token, at from inbox_entries;
"""
_REFUSED_BY_A_DEFECT = """
select key from studies where state = 'refused' and study = ? and sequence = ?
and exists (select 1 from json_each(reasons) where json_extract(value, '$.code') = 'internal-error')
"""
_WAITS_AGAIN = """
update instances set ending = 'waiting', code = '' where key = ? and ending = 'refused' and code = 'internal-error'
"""

_DECISIONS = """
create table blankings (key text primary key references studies (key), boxes text not null) strict, without rowid;
create table sheets (name text primary key, event integer not null) strict, without rowid;
insert into sheets select substr(detail, 7, 12), max(number) from events where action = 'clinical-import' group by 1;
"""

_ASSOCIATIONS = """
create table associations (
    reason text not null, called text not null, calling text not null, count integer not null, last_at text not null,
    primary key (reason, called, calling)
) strict, without rowid
"""

_WORDS = """
create table dropped_words (token blob primary key, form blob not null, word blob not null) strict, without rowid;
create index dropped_words_by_form on dropped_words (form);
create table bearers (word blob not null, token blob not null, primary key (word, token)) strict, without rowid;
create table removed_names (form blob primary key) strict, without rowid;
create table accepted_words (
    word text not null, form blob not null, since integer not null, until integer, primary key (word, since)
) strict, without rowid;
"""

_SUBMISSIONS = """
create table submissions (
    submission text primary key, study text not null, state text not null, reasons text not null,
    changed integer not null
) strict, without rowid;
create index submissions_by_change on submissions (changed);
"""

_WITHDRAWALS = """
alter table submissions add column patient text not null default '';
create table withdrawn (
    level text not null, name text not null, study text not null, event integer not null, primary key (level, name)
) strict, without rowid;
create table deletions (submission text primary key, receipt text, instances integer not null) strict, without rowid;
create view covered as select s.submission, s.study, w.level, w.name from submissions as s join withdrawn as w
    on w.level = 'site' or (w.level = 'study' and w.name = s.study) or (w.level = 'patient' and w.name = s.patient);
"""

_WITHDRAWN_OF_THE_LIBRARY = "alter table withdrawn add column in_library integer not null default 1"

_SNAPSHOTS = """
create table snapshots (number integer primary key autoincrement, taken_at text not null) strict;
create table snapshot_studies (study text primary key, patient text not null, digest text not null)
    strict, without rowid;
create index snapshot_studies_by_patient on snapshot_studies (patient);
create table snapshot_changes (
    number integer not null references snapshots (number), patient text not null, digest text,
    primary key (number, patient)
) strict, without rowid;
"""

_PLANS = """
create table plans (
    run text primary key, document text not null, state text not null, label text not null, seen_at text not null,
    expires_at text not null, reason text not null
) strict, without rowid;
create table answers (
    event integer primary key references events (number), run text not null, at text not null, what text not null,
    size integer not null, refused text not null
) strict;
create index answers_by_run on answers (run);
"""

_PRIVACY = """
create table privacy (
    run text primary key, label text not null, noise real not null, batches integer not null, steps integer not null
) strict, without rowid
"""

# Figures that a page and a scrape ask for again and again, of tables with a row for each study or image.
_FIGURES = """
drop index studies_by_state;
create index studies_by_state on studies (state, reasons, changed_at);
create index submissions_by_state on submissions (state, reasons);
create index requests_by_state on requests (state, reason, made_at, not_before);
create table instance_totals (ending text primary key, count integer not null) strict, without rowid;
insert into instance_totals select ending, count(*) from instances group by 1;
create table request_parts (
    key text not null, request text not null, announced integer not null, arrived integer not null,
    failed integer not null, changed_at text not null, primary key (key, request)
) strict, without rowid;
create index request_parts_by_request on request_parts (request);
insert or replace into request_parts select value ->> 'key', requests.id, value ->> 'announced', value ->> 'arrived',
    value ->> 'failed', changed_at from requests, json_each(parts);
"""
_COUNT_IN = "insert into instance_totals values (new.ending, 1) on conflict do update set count = count + 1"
_COUNT_OUT = "update instance_totals set count = count - 1 where ending = old.ending"
_INSTANCES_COME = f"create trigger instances_come after insert on instances begin {_COUNT_IN}; end"
_INSTANCES_LEAVE = f"create trigger instances_leave after delete on instances begin {_COUNT_OUT}; end"
_INSTANCES_END = f"""
create trigger instances_end after update of ending on instances when new.ending <> old.ending
begin {_COUNT_OUT}; {_COUNT_IN}; end
"""
_PARTS_CHANGE = """
create trigger parts_change after update of parts on requests begin
    delete from request_parts where request = old.id;
    insert or replace into request_parts select value ->> 'key', new.id, value ->> 'announced', value ->> 'arrived',
        value ->> 'failed', new.changed_at from json_each(new.parts);
end
"""

# A member of a record whose text, up to the last of them, leads to a place in a home for one study's files.
_PATH_IN_A_HOME = re.compile(rb'"(path|ciphertext)":"/(?:[^"\\]|\\.)*/((?:spool|work)/[0-9a-f]{32}/|outbox/)')


def _make_or_complete(db: sqlite3.Connection) -> None:
    """Make a new ledger's tables and salt, or complete those of a ledger that has no version yet."""
    _execute(db, _FIRST)
    columns = {row[1] for row in db.execute("pragma table_info (patients)")}
    for column in _ADDED_TO_PATIENTS:
        if column.split()[0] not in columns:
            db.execute(f"alter table patients add column {column}")
    db.execute("insert or ignore into meta values ('salt', ?)", (secrets.token_bytes(32),))


def _separate_arrivals(db: sqlite3.Connection) -> None:
    """Give inbox entries and accession numbers a table each.

    An old row does not say which of the two it is, so both tables get it. That changes no answer: its digest is that
    of one text only, and no text is both.
    """
    _execute(db, _SEPARATE_ARRIVALS)


def _revive_sealed(db: sqlite3.Connection) -> None:
    """Note where a study stopped, and send those on that `internal-error` refused while they are still sealed.

    Releases before took any failure of the coordinator for a verdict on the study. They deleted its records, but left
    the sealed files in the outbox, of which the record of the last stage is made anew.
    """
    db.execute("alter table studies add column stopped text")
    home = SiteHome(Path(db.execute("pragma database_list").fetchone()[2]).parent)
    for manifest in home.outbox.glob("*.manifest.json"):
        try:
            signed = SignedManifest.model_validate_json(manifest.read_bytes())
        except ValidationError:
            continue
        ciphertext = home.outbox / f"{signed.manifest.contents_sha256}.age"
        row = db.execute(_REFUSED_BY_A_DEFECT, (signed.manifest.study, signed.manifest.sequence)).fetchone()
        if row is not None and ciphertext.exists():
            key = StudyKey(row[0])
            Records(home).write(key, Sealed(key=key, ciphertext=ciphertext, manifest=signed))
            db.execute("update studies set state = 'sealed', reasons = '[]' where key = ?", (key,))
            db.execute(_WAITS_AGAIN, (key,))


def _keep_decisions(db: sqlite3.Connection) -> None:
    """Keep with its event what a person decided: the boxes to blank, and which sheets are used."""
    _execute(db, _DECISIONS)


def _count_associations(db: sqlite3.Connection) -> None:
    """Make room for the counts of associations that were refused or aborted."""
    db.execute(_ASSOCIATIONS)


def _keep_words(db: sqlite3.Connection) -> None:
    """Keep which words left the texts, by how many patients, and which of them a person accepted."""
    _execute(db, _WORDS)


def _number_receipts(db: sqlite3.Connection) -> None:
    """Enter the audit number that each receipt names: those of further receipts must be higher."""
    db.execute("alter table studies add column audit_number integer")
    db.execute("create index studies_by_audit_number on studies (audit_number)")
    home = SiteHome(Path(db.execute("pragma database_list").fetchone()[2]).parent)
    for name in [row[0] for row in db.execute("select receipt from studies where receipt is not null")]:
        with suppress(FileNotFoundError, ValidationError):
            signed = Signed.model_validate_json((home.receipts / name).read_bytes())
            number = Receipt.model_validate_json(signed.document).audit_number
            db.execute("update studies set audit_number = ? where receipt = ?", (number, name))


def _keep_submissions(db: sqlite3.Connection) -> None:
    """Keep where submissions stand at the centre."""
    _execute(db, _SUBMISSIONS)


def _keep_withdrawals(db: sqlite3.Connection) -> None:
    """Keep what was withdrawn, and what the coordinator deleted."""
    _execute(db, _WITHDRAWALS)


def _free_records_of_the_folder(db: sqlite3.Connection) -> None:
    """Name what lies in the home relative to it in the records of its studies, also where the home was moved before."""
    home = SiteHome(Path(db.execute("pragma database_list").fetchone()[2]).parent)
    for record in home.folder.glob("work/*/*.json"):
        text = record.read_bytes()
        if (relative := _PATH_IN_A_HOME.sub(rb'"\1":"\2', text)) != text:
            write_whole(record, relative, mode=0o600)


def _clear_the_library(db: sqlite3.Connection) -> None:
    """Keep of what was withdrawn whether the library may hold it still: until it was cleared, it may."""
    db.execute(_WITHDRAWN_OF_THE_LIBRARY)


def _keep_snapshots(db: sqlite3.Connection) -> None:
    """Keep which studies federated questions are answered from."""
    _execute(db, _SNAPSHOTS)


def _keep_plans(db: sqlite3.Connection) -> None:
    """Keep what was decided on federated runs, and what was answered."""
    _execute(db, _PLANS)


def _keep_privacy(db: sqlite3.Connection) -> None:
    """Keep what private trainings have cost."""
    _execute(db, _PRIVACY)


def _charge_counts(db: sqlite3.Connection) -> None:
    """Keep what noisy counts have cost, too."""
    db.execute("alter table privacy add column epsilon real not null default 0")


def _keep_figures(db: sqlite3.Connection) -> None:
    """Keep the numbers of studies, images and requests so that they are read at once, however many there are."""
    _execute(db, _FIGURES)
    for statement in (_INSTANCES_COME, _INSTANCES_LEAVE, _INSTANCES_END, _PARTS_CHANGE):
        db.execute(statement)


STEPS = (
    *(_make_or_complete, _separate_arrivals, _revive_sealed, _keep_decisions, _count_associations, _keep_words),
    *(_number_receipts, _keep_submissions, _keep_withdrawals, _free_records_of_the_folder),
    *(_clear_the_library, _keep_snapshots, _keep_plans, _keep_privacy, _charge_counts),
    _keep_figures,
)


def _execute(db: sqlite3.Connection, script: str) -> None:
    """Execute statements in the open transaction, which `executescript` would commit."""
    for statement in script.split(";"):
        db.execute(statement)
