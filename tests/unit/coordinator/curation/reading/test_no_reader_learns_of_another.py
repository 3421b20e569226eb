"""What a reader is given depends on their own reads alone, and names neither a site nor a patient."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from coordinator.curation.reading.readers import Reader, ReaderRole
from coordinator.curation.reading.reads import Draft, FilmRead
from tests.factories.opened import write_opened
from tests.factories.reading import SITES, Room, reading_room, reads

FILMS = 3
others_act = st.lists(
    st.tuples(st.sampled_from((1, 2, 3)), st.integers(0, FILMS - 1), reads, st.sampled_from(("read", "draft"))),
    max_size=12,
)


def given_to(room: Room, reader: Reader) -> list[object]:
    """All that a reader can ask for, but the films' paths, which stay on the server."""
    names = (*room.desk.left(reader), *room.desk.submitted(reader))
    studies = [room.desk.study(reader, name) for name in names]
    return [names, [(study.name, study.draft, study.read, len(study.films)) for study in studies]]


@given(acts=others_act, own=st.lists(st.tuples(st.integers(0, FILMS - 1), reads), max_size=3))
def test_no_act_of_others_changes_what_a_reader_gets(
    acts: list[tuple[int, int, FilmRead, str]], own: list[tuple[int, FilmRead]]
) -> None:
    """Between any two acts of others, reading, correcting, adjudicating, a reader is given the same."""
    with TemporaryDirectory() as folder, reading_room(Path(folder), count=FILMS) as room:
        me = room.desk.reader("reader 0")
        for index, read in own:
            name = sorted((*room.desk.left(me), *room.desk.submitted(me)))[index]
            room.desk.submit(me, name, read, "seen again")
        before = given_to(room, me)
        dora = room.desk.reader("dora")
        for who, index, read, what in acts:
            if who == 3:
                for name in room.desk.disputed(dora)[:1]:
                    undecided = room.desk.dispute(dora, name).result.undecided
                    room.desk.adjudicate(
                        dora,
                        name,
                        appearance="negative" if "appearance" in undecided else None,
                        grade="mild" if undecided == ("grade",) else None,
                    )
            else:
                other = room.desk.reader(f"reader {who}")
                name = sorted((*room.desk.left(other), *room.desk.submitted(other)))[index]
                if what == "read":
                    room.desk.submit(other, name, read, "seen again")
                else:
                    room.desk.keep_draft(other, name, Draft(appearance=read.appearance))
            assert given_to(room, me) == before


def test_names_and_their_order_are_each_readers_own(tmp_path: Path) -> None:
    """Of one film two readers have two names, no name or order says site, patient, study or arrival."""
    with reading_room(tmp_path, count=12) as room:
        everybody = [room.desk.reader(f"reader {number}") for number in range(3)]
        lists = [room.desk.left(reader) for reader in everybody]
        assert all(len(names) == 12 and list(names) == sorted(names) for names in lists)
        assert len({name for names in lists for name in names}) == 36
        with room.register.reading() as reading:
            cases = reading.cases()
        paths = [
            [room.desk.study(reader, name).films[0].parent.name for name in names]
            for reader, names in zip(everybody, lists, strict=True)
        ]
        assert {tuple(order) for order in paths} != {tuple(case.study for case in cases)}
        assert len({tuple(order) for order in paths}) > 1
        text = " ".join(name for names in lists for name in names)
        assert not any(part in text for case in cases for part in (case.study, *SITES))


def test_films_come_to_readers_by_chance_not_by_reads(tmp_path: Path) -> None:
    """Of more readers than a film needs, each film has three, and each reader some; what comes later changes none."""
    with reading_room(tmp_path, count=12, readers=5) as room:
        everybody = [room.desk.reader(f"reader {number}") for number in range(5)]
        before = {reader.name: set(room.desk.left(reader)) for reader in everybody}
        assert sum(map(len, before.values())) == 36
        assert all(before.values())
        write_opened(room.opened, 12)
        room.enter()
        room.add("reader 5")
        after = {reader.name: set(room.desk.left(reader)) for reader in everybody}
        assert all(before[name] <= after[name] for name in before)
        assert sum(map(len, after.values())) + len(room.desk.left(room.desk.reader("reader 5"))) == 39


def test_an_adjudicator_is_shown_reads_without_readers(tmp_path: Path) -> None:
    """Only what is undecided is shown, and the reads in an order that says nothing of who read."""
    with reading_room(tmp_path) as room:
        dora = room.desk.reader("dora")
        for who, appearance in enumerate(("typical", "atypical", "indeterminate")):
            reader = room.desk.reader(f"reader {who}")
            for name in room.desk.left(reader):
                room.desk.submit(reader, name, FilmRead(appearance=appearance, grade="mild"))
        names = room.desk.disputed(dora)
        assert len(names) == 3
        orders = {tuple(read.appearance for read in room.desk.dispute(dora, name).reads) for name in names}
        assert all(sorted(order) == ["atypical", "indeterminate", "typical"] for order in orders)
        assert room.add("eve", ReaderRole.ADJUDICATOR).role is ReaderRole.ADJUDICATOR
