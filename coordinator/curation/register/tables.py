"""The tables of the register's file."""

# Step n takes a file of version n to version n + 1. A released step never changes.
STEPS = (
    """
create table events (
    number integer primary key, at text not null, actor text not null, action text not null, object text not null,
    result text not null, digest text not null
) strict;
create table cases (
    number integer primary key autoincrement, submission text not null unique, site_id text not null,
    study text not null, modalities text not null, state text not null
) strict;
create index cases_by_state on cases (state);
create table acts (
    number integer primary key autoincrement, case_number integer not null references cases (number),
    act text not null, role text not null, name text not null
) strict;
create index acts_by_case on acts (case_number);
create table checks (
    case_number integer primary key references cases (number), results text not null
) strict;
create table marks (
    case_number integer not null references cases (number), instance text not null, mark text not null,
    primary key (case_number, instance)
) strict, without rowid;
create table unsent (
    case_number integer primary key references cases (number), state text not null, reasons text not null
) strict;
create table readers (
    number integer primary key autoincrement, name text not null unique collate nocase, pseudonym text not null unique,
    role text not null, seed text not null, is_active integer not null
) strict;
create table assignments (
    case_number integer not null references cases (number), reader integer not null references readers (number),
    draft text, primary key (case_number, reader)
) strict, without rowid;
create index assignments_by_reader on assignments (reader);
create table reads (
    number integer primary key autoincrement, case_number integer not null references cases (number),
    reader integer not null references readers (number), answers text not null, reason text not null, at text not null
) strict;
create index reads_by_case on reads (case_number);
create table adjudications (
    number integer primary key autoincrement, case_number integer not null references cases (number),
    reader integer not null references readers (number), reads text not null, appearance text, grade text,
    at text not null
) strict;
create index adjudications_by_case on adjudications (case_number);
create trigger events_stay before update on events begin select raise(abort, 'the log only grows'); end;
create trigger events_are_kept before delete on events begin select raise(abort, 'the log only grows'); end;
create trigger reads_stay before update on reads begin select raise(abort, 'a read is final'); end;
create trigger reads_are_kept before delete on reads begin select raise(abort, 'a read is final'); end;
""",
)
