"""`curate reader` and `curate reading`: who reads films, how far they are, and what follows from their reads."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated, Any

import typer

from coordinator.commands.console import PACKAGES
from coordinator.commands.curate_review import opened_register
from coordinator.commands.output import AsJson
from coordinator.curation.membership import CuratorHome
from coordinator.curation.reading.labels import all_labels, reads_of
from coordinator.curation.reading.readers import ReaderRole, add_reader, all_readers, assign, remove_reader
from coordinator.curation.register.acts import CaseState
from coordinator.curation.register.register import Case, Reading
from coordinator.home.signals import stop_signals
from shared.counts import counted
from shared.extras import require_extra
from shared.federation.cell_policy import CellPolicy
from shared.protocol.loader import load_annotation
from shared.terminal import make_app, print_json, print_line, print_table
from shared.web.people import People
from shared.web.store import Store

reader = make_app("Who reads films, blind to one another, and who adjudicates.")
reading = make_app("The reading of films: how far it is, its labels, and how well the readers agree.")

Name = Annotated[str, typer.Argument(help="The person's name, by which they sign in.")]


@reader.command(name="add")
def add(
    context: typer.Context,
    name: Name,
    role: Annotated[ReaderRole, typer.Option(help="reader: reads; adjudicator: decides what reads leave undecided.")],
    as_json: AsJson = False,
) -> None:
    """Add a reader, and print the link by which they sign in: it works once, for three days.

    Their reads are known by the pseudonym that is printed. With another role they are that from now on.
    """
    with opened_register(context) as (home, register, _opened), _people(home) as people:
        with register.changing() as change:
            added = add_reader(change, name, role)
        if any(person.name == added.name and person.role != role for person in people.all()):
            people.remove(added.name)
        link = f"{home.settings().reading.address}/invitation/{people.invite(added.name, role)}"
    if as_json:
        print_json({"pseudonym": added.pseudonym, "role": added.role, "link": link})
    else:
        print_line(f"{added.role} {added.pseudonym}")
        print_line(link)


@reader.command(name="list")
def list_readers(context: typer.Context, as_json: AsJson = False) -> None:
    """List who reads now, and how many films each has read and has left."""
    with opened_register(context) as (_, register, _opened), register.changing() as change:
        assign(change, load_annotation().vote.readers)
        rows = [(each.name, each.pseudonym, each.role, *_counts(change, each.number)) for each in all_readers(change)]
    if as_json:
        names = ("name", "pseudonym", "role", "read", "left")
        print_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        heads = ["Name", "Pseudonym", "Role", "Read", "Left"]
        print_table("Readers", heads, [tuple(map(str, row)) for row in rows])


@reader.command(name="remove")
def remove(context: typer.Context, name: Name) -> None:
    """Remove a reader at once: what they read stays, what they did not goes to others."""
    with opened_register(context) as (home, register, _opened), _people(home) as people:
        with register.changing() as change:
            removed = remove_reader(change, name)
        if any(person.name == removed.name for person in people.all()):
            people.remove(removed.name)
    print_line("The reader is removed.")


@reading.command()
def serve(context: typer.Context) -> None:
    """Serve the pages at which films are read and adjudicated, until Ctrl-C or SIGTERM."""
    with opened_register(context) as (home, _, _opened):
        require_extra("console", *PACKAGES)
    from coordinator.curation.reading.console.served import reading_served

    with stop_signals() as stop, reading_served(home):
        print_line(f"ready: {home.settings().reading.address}")
        stop.wait()


@reading.command(name="list")
def list_films(context: typer.Context, as_json: AsJson = False) -> None:
    """List the accepted films: how many reads each has, and whether they decide."""
    definition = load_annotation()
    with opened_register(context) as (_, register, _opened), register.reading() as reading_:
        films: list[dict[str, Any]] = [
            {
                "submission": case.submission,
                "site_id": case.site_id,
                "state": case.state,
                "reads": len((reads := reads_of(reading_, case)).by_reader),
                "undecided": list(result.undecided) if _is_open(case) and (result := reads.vote(definition)) else [],
            }
            for case in _films(reading_)
        ]
    if as_json:
        print_json(films)
        return
    rows = [
        (film["submission"][:12], film["site_id"], film["state"], str(film["reads"]), ", ".join(film["undecided"]))
        for film in films
    ]
    print_table(counted(len(films), "film"), ["Submission", "SITEID", "State", "Reads", "Undecided"], rows)


@reading.command()
def labels(context: typer.Context) -> None:
    """Print the labels, a line of JSON for each film: votes, policy, and the reads under pseudonyms."""
    definition = load_annotation()
    with opened_register(context) as (_, register, _opened), register.reading() as reading_:
        for label in all_labels(reading_, definition):
            print_json(label.model_dump(mode="json"))


@reading.command()
def agreement(
    context: typer.Context,
    policy: Annotated[
        str, typer.Option(help="For small numbers of studies: cms-11, nhs-7-round-5, min-5, …")
    ] = "cms-11",
    seed: Annotated[int, typer.Option(help="Of the drawing of studies for the intervals.")] = 1,
    as_json: AsJson = False,
) -> None:
    """How well the readers agree, pooled and by site, with 95 % intervals over studies; small numbers are hidden."""
    from coordinator.curation.reading.agreement import agreement_of

    definition = load_annotation()
    with opened_register(context) as (_, register, _opened), register.reading() as reading_:
        figures = agreement_of(reading_, definition, CellPolicy.named(policy), seed)
    if as_json:
        print_json({group: each.model_dump(mode="json") for group, each in figures.items()})
        return
    for group, each in figures.items():
        rows = [
            (where, str(row.studies), row.fleiss.text, row.alpha.text) if row else (where, "hidden", "", "")
            for where, row in {"all sites": each.pooled, **each.sites}.items()
        ]
        heads = ["", "Studies", "Fleiss' kappa", "Krippendorff's alpha"]
        print_table(definition.group(group).title, heads, rows)


@contextmanager
def _people(home: CuratorHome) -> Iterator[People]:
    with closing(Store(home.readers)) as store:
        yield People(store)


def _is_open(case: Case) -> bool:
    """Whether something of a film may still be undecided."""
    return case.state is CaseState.ACCEPTED


def _films(reading_: Reading) -> list[Case]:
    states = {CaseState.ACCEPTED, CaseState.LABELLED, CaseState.RELEASED}
    return [case for case in reading_.cases() if case.is_film and case.state in states]


def _counts(reading_: Reading, number: int) -> tuple[int, int]:
    query = (
        "select count(*), count(*) filter (where exists (select 1 from reads"
        " where reads.case_number = assignments.case_number and reads.reader = ?1)) from assignments where reader = ?1"
    )
    total, read = reading_.db.execute(query, (number,)).fetchone()
    return read, total - read
