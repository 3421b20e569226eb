"""`curate reader` and `curate reading`: who reads films, how far they are, and what follows from their reads."""

from typing import Annotated, Any

import typer

from coordinator.commands.curate_review import opened_register
from coordinator.commands.output import AsJson
from coordinator.curation.reading.labels import all_labels, reads_of
from coordinator.curation.reading.readers import ReaderRole, add_reader, all_readers, assign, remove_reader
from coordinator.curation.register.acts import CaseState
from coordinator.curation.register.register import Case, Reading
from shared.counts import counted
from shared.protocol.loader import load_annotation
from shared.terminal import make_app, print_json, print_line, print_table

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
    """Add a reader; their reads are known by the pseudonym that is printed."""
    with opened_register(context) as (_, register, _opened), register.changing() as change:
        added = add_reader(change, name, role)
    if as_json:
        print_json({"pseudonym": added.pseudonym, "role": added.role})
    else:
        print_line(f"{added.role} {added.pseudonym}")


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
    with opened_register(context) as (_, register, _opened), register.changing() as change:
        remove_reader(change, name)
    print_line("The reader is removed.")


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
                "undecided": list(result.undecided) if (result := reads.vote(definition)) else [],
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
