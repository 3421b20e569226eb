"""Who reads is kept by commands, which show how far the reading is and print the labels with their raw reads."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from coordinator.cli import app
from coordinator.curation.membership import CuratorHome
from coordinator.curation.reading.reads import FilmRead
from shared.errors.inputs import InvalidArgument, NotFound
from tests.factories.reading import SITES, Room, reading_room

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    CuratorHome(tmp_path).settings_file.write_text('protocol = "ricord"\n')

    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(app, ["--home", str(tmp_path), "curate", *arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return run


def read_all(room: Room, *appearances: str) -> None:
    for number, appearance in enumerate(appearances):
        reader = room.desk.reader(f"reader {number}")
        for name in room.desk.left(reader):
            study = room.desk.study(reader, name)
            assert study.read is None
            room.desk.submit(reader, name, FilmRead(appearance=appearance, grade="mild"))


def test_readers_come_and_go(run: Run, tmp_path: Path) -> None:
    """A reader added twice is the same; each film has three; somebody who is not there cannot be removed."""
    with reading_room(tmp_path, count=2):
        before = json.loads(run("reader", "list", "--json"))
        assert [(each["role"], each["read"], each["left"]) for each in before] == [
            ("adjudicator", 0, 0),
            *[("reader", 0, 2)] * 3,
        ]
        again = json.loads(run("reader", "add", "reader 0", "--role", "reader", "--json"))
        assert (again["role"], again["pseudonym"]) == ("reader", before[1]["pseudonym"])
        assert again["link"].startswith("http://127.0.0.1:8422/invitation/")
        run("reader", "add", "late", "--role", "reader")
        run("reader", "remove", "reader 0")
        after = {each["name"]: each["left"] for each in json.loads(run("reader", "list", "--json"))}
        assert after == {"dora": 0, "late": 2, "reader 1": 2, "reader 2": 2}
        with pytest.raises(NotFound):
            run("reader", "remove", "reader 0")
        with pytest.raises(InvalidArgument):
            run("reader", "add", "two\x1blines", "--role", "reader")


def test_labels_are_printed_with_policy_and_reads(run: Run, tmp_path: Path) -> None:
    """What is undecided is named, what is decided has votes, policy and each read under a pseudonym, and no name."""
    with reading_room(tmp_path, count=1) as room:
        read_all(room, "typical", "typical", "atypical")
        (film,) = json.loads(run("reading", "list", "--json"))
        assert (film["state"], film["reads"], film["undecided"]) == ("labelled", 3, [])
        printed = run("reading", "labels")
        label = json.loads(printed)
        assert (label["result"]["policy"], label["result"]["appearance"]["votes"]) == ("apart", [2, 1])
        assert len(label["reads"]) == 3
        assert "reader " not in printed
        assert json.loads(run("review", "log", "--json"))["intact"]


def test_what_is_undecided_is_named(run: Run, tmp_path: Path) -> None:
    """Three who differ leave the film accepted, and the table says on what."""
    with reading_room(tmp_path, count=1) as room:
        read_all(room, "typical", "indeterminate", "atypical")
        (film,) = json.loads(run("reading", "list", "--json"))
        assert (film["state"], film["undecided"]) == ("accepted", ["appearance"])
        assert run("reading", "labels") == ""
        assert "appearance" in run("reading", "list")


def test_agreement_is_pooled_and_by_site(run: Run, tmp_path: Path) -> None:
    """Perfect and mixed agreement are told apart, a figure that is undefined says so, and few studies are hidden."""
    with reading_room(tmp_path, count=6) as room:
        for number in range(3):
            reader = room.desk.reader(f"reader {number}")
            for name in room.desk.left(reader):
                site = room.desk.study(reader, name).films[0].parts[-3]
                term = "atypical" if site == SITES[0] else "typical"
                room.desk.submit(reader, name, FilmRead(appearance=term, grade="mild"))
        shown = json.loads(run("reading", "agreement", "--policy", "min-3", "--json"))
        assert (shown["appearance"]["pooled"]["studies"], shown["appearance"]["pooled"]["fleiss"]["value"]) == (6, 1.0)
        assert shown["grade"]["pooled"]["alpha"]["value"] is None
        assert shown["appearance"]["sites"] == dict.fromkeys(sorted(SITES))
        assert "undefined" in run("reading", "agreement", "--policy", "min-2")
        assert "hidden" in run("reading", "agreement")
        with pytest.raises(InvalidArgument):
            run("reading", "agreement", "--policy", "none")
