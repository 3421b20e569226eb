"""From what a reader's browser received nothing tells two states of the others' reads apart, nor a site or patient."""

import gzip
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.curation.opening import list_opened
from coordinator.curation.reading.console.roles import ROLES
from coordinator.curation.reading.console.served import make_console
from coordinator.curation.reading.readers import ReaderRole, remove_reader
from coordinator.curation.reading.reads import FilmRead
from tests.factories.consoles import SETTINGS, Browser, open_store
from tests.factories.reading import SITES, Room, film_of, reading_room, reads

FILMS = 2
SMALL = tuple(film_of(number, shape=(16, 16)) for number in range(FILMS))
acts = st.lists(st.tuples(st.sampled_from((1, 2)), st.integers(0, FILMS - 1), reads), max_size=5)


@contextmanager
def room_and_browser(folder: Path, name: str = "reader 0", role: str = "reader") -> Iterator[tuple[Room, Browser]]:
    with reading_room(folder, count=FILMS, film=lambda number: SMALL[number]) as room, open_store() as store:
        browser = Browser(make_console(room.desk, SETTINGS, store))
        browser.join(store, name, role)
        yield room, browser


def received(browser: Browser) -> list[tuple[str, int, bytes]]:
    """All that a browser gets that follows every link: address, status and bytes, but for the form's secret."""
    answers, todo = dict[str, tuple[int, bytes]](), ["/"]
    while todo:
        path = todo.pop()
        answer = browser.get(path)
        text = re.sub(rb'name="csrf" value="[0-9a-f]{64}"', b"", answer.content)
        answers[path] = (answer.status_code, text)
        links = re.findall(rb'(?:href|src|data-values)="(/(?:studies|disputes)[^"]*)"', text)
        todo += [link.decode() for link in links if link.decode() not in answers]
    return sorted((path, *answer) for path, answer in answers.items())


@settings(max_examples=15, deadline=None)
@given(acts=acts)
def test_no_byte_depends_on_others(acts: list[tuple[int, int, FilmRead]]) -> None:
    """Before and after each act of other readers every page, film and status is the same, byte for byte."""
    with TemporaryDirectory() as folder, room_and_browser(Path(folder)) as (room, browser):
        before = received(browser)
        assert len(before) == 1 + 1 + 2  # the list, the next study, its film twice
        for who, index, read in acts:
            other = room.desk.reader(f"reader {who}")
            name = sorted((*room.desk.left(other), *room.desk.submitted(other)))[index]
            room.desk.submit(other, name, read, "seen again")
            assert received(browser) == before


def test_no_site_and_no_patient_is_on_the_wire(tmp_path: Path) -> None:
    """Neither SITEID, study, patient, submission, path nor another reader is in any byte of any answer."""
    with room_and_browser(tmp_path) as (room, browser):
        secrets = {*SITES, str(tmp_path), "reader 1", "dora", "Testington", "HX-0001"}
        for study in list_opened(room.opened):
            contents = study.contents
            secrets |= {contents.study, contents.patient, study.submission, contents.instances[0].sop_instance_uid}
        for path, status, content in received(browser):
            assert status == 200
            assert not [each for each in secrets if each.encode() in content or each in path]
            if path.endswith("values"):
                assert len(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content) == 2 * 16 * 16


def test_each_row_of_the_table_is_for_its_role(tmp_path: Path) -> None:
    """A reader is refused every page of an adjudicator, and the other way round; there is a page for each row."""
    with room_and_browser(tmp_path) as (room, reader), open_store() as store:
        adjudicator = Browser(make_console(room.desk, SETTINGS, store))
        adjudicator.join(store, "dora", "adjudicator")
        for row, roles in ROLES.items():
            method, _, path = row.partition(" ")
            address = path.replace("{study}", "0" * 16).replace("{film}", "1")
            for browser, role in ((reader, ReaderRole.READER), (adjudicator, ReaderRole.ADJUDICATOR)):
                status = browser.get(address).status_code if method == "GET" else browser.send(address)
                assert (status == 403) == (role not in roles), (row, role, status)


def test_another_readers_names_lead_nowhere(tmp_path: Path) -> None:
    """An address of another reader is answered as one that never was."""
    with room_and_browser(tmp_path) as (room, browser):
        for name in (room.desk.left(room.desk.reader("reader 1"))[0], "0" * 16):
            answers = [browser.get(f"/studies/{name}{rest}") for rest in ("", "/films/1/values", "/films/1/picture")]
            assert {answer.status_code for answer in answers} == {404}
            assert browser.send(f"/studies/{name}", appearance="negative") == 404
            assert browser.send(f"/studies/{name}/draft", appearance="negative") == 404
        assert not room.desk.submitted(room.desk.reader("reader 1"))


@pytest.mark.parametrize("number", ["0", "2", "x", "-1", "9" * 40, "%C2%B2"])
def test_a_film_that_is_none_is_not_found(tmp_path: Path, number: str) -> None:
    """A number that no film has is answered in a sentence."""
    with room_and_browser(tmp_path) as (room, browser):
        name = room.desk.left(room.desk.reader("reader 0"))[0]
        assert browser.get(f"/studies/{name}/films/{number}/values").status_code == 404


def test_a_film_that_cannot_be_decoded_is_said_and_the_study_read(tmp_path: Path) -> None:
    """The page says why the film is not shown, and takes the read."""
    with reading_room(tmp_path, count=1) as room, open_store() as store:
        browser = Browser(make_console(room.desk, SETTINGS, store))
        browser.join(store, "reader 0", "reader")
        (name,) = room.desk.left(room.desk.reader("reader 0"))
        assert "This film cannot be shown" in browser.open(f"/studies/{name}")
        assert browser.get(f"/studies/{name}/films/1/picture").status_code == 409
        assert browser.send(f"/studies/{name}", appearance="negative", quality="incomplete") == 303


def test_a_reader_who_is_removed_is_shown_nothing_more(tmp_path: Path) -> None:
    """In mid-session the next page says so; neither a film nor a draft passes, also where the role is another now."""
    with room_and_browser(tmp_path) as (room, browser):
        (name, *_) = room.desk.left(room.desk.reader("reader 0"))
        browser.open(f"/studies/{name}")
        with room.register.changing() as change:
            remove_reader(change, "reader 0")
        paths = ("/", f"/studies/{name}", f"/studies/{name}/films/1/values")
        assert {browser.get(path).status_code for path in paths} == {404}
        assert browser.send(f"/studies/{name}/draft", note="x") == 404
        room.add("reader 0", ReaderRole.ADJUDICATOR)
        assert {browser.get(path).status_code for path in paths} == {404}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "it says no appearance"),
        ({"appearance": "odd", "grade": "mild"}, "its appearance is none of"),
        ({"appearance": "typical"}, "its grade is none of"),
        ({"appearance": "typical", "grade": "mild", "note": "a\x07"}, "cannot be printed"),
        ({"appearance": "x" * 60}, "a page sends it otherwise"),
    ],
)
def test_a_read_that_does_not_fit_is_said(tmp_path: Path, fields: dict[str, str], said: str) -> None:
    """Nothing is recorded, and what was written stands on the page that says so."""
    with room_and_browser(tmp_path) as (room, browser):
        reader = room.desk.reader("reader 0")
        (name, *_) = room.desk.left(reader)
        browser.open(f"/studies/{name}")
        assert browser.send(f"/studies/{name}", **fields) in {400, 409}
        assert said in browser.said.text
        assert not room.desk.submitted(reader)


def test_a_note_may_have_all_its_characters_in_lines(tmp_path: Path) -> None:
    """A form without scripts sends the end of a line as two characters, of which a note counts one."""
    note = "x\n" * 249 + "yz"
    with room_and_browser(tmp_path) as (room, browser):
        reader = room.desk.reader("reader 0")
        (name, *_) = room.desk.left(reader)
        browser.open(f"/studies/{name}")
        fields = {"appearance": "negative", "note": note.replace("\n", "\r\n")}
        assert browser.send(f"/studies/{name}", **{**fields, "note": fields["note"] + "!"}) == 400
        assert browser.send(f"/studies/{name}", **fields) == 303
        read = room.desk.study(reader, name).read
    assert read is not None
    assert read.note == note


def test_a_draft_is_kept_of_what_is_shown_again(tmp_path: Path) -> None:
    """Only until a study is read: its page shows the read, and promises to keep nothing else."""
    with room_and_browser(tmp_path) as (room, browser):
        (name, *_) = room.desk.left(room.desk.reader("reader 0"))
        assert "data-draft" in browser.open(f"/studies/{name}")
        browser.send(f"/studies/{name}", appearance="negative")
        assert "data-draft" not in browser.open(f"/studies/{name}")


def test_keys_of_a_film_are_each_of_a_single_answer(tmp_path: Path) -> None:
    """No two answers or tools of a film's page have the same key."""
    with room_and_browser(tmp_path) as (room, browser):
        (name, *_) = room.desk.left(room.desk.reader("reader 0"))
        keys = re.findall(r'data-key="([^"]+)"', browser.open(f"/studies/{name}"))
    assert len(keys) == len(set(keys)) > 25
