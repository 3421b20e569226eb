"""Commands beside `ricord-site run`: none waits for a study that takes long; a kill of either side loses nothing."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from shared.errors.base import ExitCode
from shared.ids import StudyKey
from site_node.blanking import BURNED_IN_TEXT, FINDINGS_FILE, FrameWithText, Sides, TextFindings
from site_node.home.folder import SiteHome, init_home
from site_node.home.ledger import Ledger, State
from site_node.node.intake import receive_source
from site_node.node.open import open_node
from site_node.node.passes import run_pass
from site_node.study import Reason, Severity
from tests.factories.dicom import make_dx, write_file
from tests.peers import check_no_defect

COMMAND = "from site_node.cli import main; main()"
SLOW = """
import os, pathlib, time
from site_node.node import composition
screen = composition.screen
def slow(study, **options):
    if study.identity.patient_id == "SLOW":
        pathlib.Path(os.environ["BEGUN"]).touch()
        while not pathlib.Path(os.environ["GO_ON"]).exists():
            time.sleep(0.05)
    return screen(study, **options)
composition.screen = slow
"""
PERSON, SHEET = "A. Miller", "mrn,covid_status,covid_method,covid_timing,age,sex\n{}\n"
TEXT = Reason(code=BURNED_IN_TEXT, message="A piece of text.", severity=Severity.REVIEW)


class Hospital:
    """A home before enrolment, with studies in quarantine for want of a clinical row, and its node as a process."""

    def __init__(self, folder: Path, *patients: str, poll_seconds: float = 0.1) -> None:
        self.folder = folder
        self.home = init_home(folder / "home", name="General")
        text = self.home.settings_file.read_text()
        polls = ("poll_seconds = 10.0", f"poll_seconds = {poll_seconds}")
        for before, after in (polls, ("\nworkers = 0", "\nworkers = 1")):
            assert before in text
            text = text.replace(before, after)
        self.home.settings_file.write_text(text)
        self.keys = {patient: self.receive(patient) for patient in patients}
        with open_node(self.home) as node:
            run_pass(node, State.INCLUDED)

    def film(self, patient: str) -> Path:
        """A folder with one film of a patient."""
        source = self.folder / patient
        source.mkdir(exist_ok=True)
        write_file(make_dx(study=patient, PatientID=patient), source / "film.dcm")
        return source

    def receive(self, patient: str) -> StudyKey:
        """Receive a film; the key of its study."""
        with open_node(self.home, writing=False) as node:
            before = {entry.key for entry in node.ledger.studies()}
            receive_source(node, self.film(patient))
            (key,) = {entry.key for entry in node.ledger.studies()} - before
        return key

    def sheet(self, *patients: str) -> Path:
        """A clinical sheet with a row for each patient."""
        file = self.folder / "clinical.csv"
        file.write_text(SHEET.format("\n".join(f"{patient},positive,rt-pcr,,," for patient in patients)))
        return file

    def start(self, *words: object, program: str = COMMAND) -> subprocess.Popen[str]:
        """Start a command."""
        marks = {"BEGUN": str(self.folder / "begun"), "GO_ON": str(self.folder / "go-on")}
        return subprocess.Popen(
            [sys.executable, "-c", program, "--home", str(self.home.folder), *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | marks,
        )

    def start_node(self, program: str = COMMAND) -> subprocess.Popen[str]:
        """Start the service; it is ready on return."""
        node = self.start("run", "--no-federation", program=program)
        assert node.stdout is not None
        assert node.stdout.readline() == "ready\n"
        return node

    def in_ledger(self, question: Callable[[Ledger], object]) -> object:
        """The ledger's answer to a question."""
        ledger = Ledger(self.home.ledger)
        try:
            return question(ledger)
        finally:
            ledger.close()

    def state(self, key: StudyKey) -> State:
        return State(str(self.in_ledger(lambda ledger: ledger.study(key).state)))

    def events(self) -> list[tuple[str, str, str]]:
        """Who decided what about which study."""
        entries = json.loads(finish(self.start("review", "audit", "--json"))[1])
        return [(entry["actor"], entry["action"], entry["key"]) for entry in entries]


def finish(process: subprocess.Popen[str], *codes: int) -> tuple[int, str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode in (codes or (0,)), err
    check_no_defect(out + err)
    return process.returncode, out


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def hold_for_text(home: SiteHome, key: StudyKey) -> None:
    """Quarantine a study for a piece of text in its pixels."""
    ledger = Ledger(home.ledger)
    ledger.advance(key, State.QUARANTINED, reasons=(TEXT,))
    ledger.close()
    (home.quarantine / key).mkdir()
    Image.new("RGB", (100, 80)).save(home.quarantine / key / "0.png")
    frame = FrameWithText(picture="0.png", instance="1.2.3", frame=0, boxes=(Sides(0, 3, 40, 20),))
    (home.quarantine / key / FINDINGS_FILE).write_text(TextFindings(frames=(frame,)).model_dump_json())


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    """A hospital whose running node is in the middle of one study, until the file `go-on` is there."""
    hospital = Hospital(tmp_path, "A", "B", "C", "D", "E")
    hold_for_text(hospital.home, hospital.keys["D"])
    hospital.keys["SLOW"] = hospital.receive("SLOW")
    node = hospital.start_node(SLOW + COMMAND)
    try:
        wait_until((tmp_path / "begun").exists, "the slow study did not begin")
        yield hospital
        (tmp_path / "go-on").touch()
        waiting = (State.RECEIVED, State.QUARANTINED)
        wait_until(lambda: not hospital.in_ledger(lambda ledger: ledger.studies(*waiting)), "studies did not go on")
        node.terminate()
        finish(node)
    finally:
        node.kill()
        node.communicate()


def test_no_command_waits_for_a_study_in_work(hospital: Hospital) -> None:
    """While one study is in a stage, every decision is made and kept with who made it, and all goes on afterwards."""
    key, decision = hospital.keys, ("--as", PERSON, "--reason", "seen")
    commands = [
        hospital.start("review", "reject", key["A"], *decision),
        hospital.start("review", "release", key["B"], *decision),
        hospital.start("review", "accept", key["C"], *decision),
        hospital.start("review", "blank", key["D"], *decision),
        hospital.start("receive", hospital.film("F")),
    ]
    for command in commands:
        finish(command)
    assert json.loads(finish(hospital.start("status", "--json"))[1])["received"] == 7
    began = time.monotonic()
    finish(hospital.start("clinical", "import", hospital.sheet("D", "E", "F", "SLOW"), "--as", PERSON))
    took = time.monotonic() - began
    assert took < 30, "most of it is the start of a program on a busy machine"
    states = {patient: hospital.state(study) for patient, study in key.items()}
    back = dict.fromkeys(("B", "C", "D", "E", "SLOW"), State.RECEIVED)
    assert states == {"A": State.EXCLUDED, **back}, "all holds while the slow study is still in its stage"
    actions = [("reject", "A"), ("release", "B"), ("release", "C"), ("blank", "D")]
    expected = {(PERSON, action, key[patient]) for action, patient in actions}
    assert set(hospital.events()) == {*expected, (PERSON, "clinical-import", "0" * 32)}
    assert finish(hospital.start("submit"), ExitCode.FAILED)


def test_an_idle_node_goes_on_at_once(tmp_path: Path) -> None:
    """What is decided or received beside a node that looks every hour goes on without it being asked."""
    hospital = Hospital(tmp_path, "A", poll_seconds=3600)
    node = hospital.start_node()
    try:
        finish(hospital.start("review", "release", hospital.keys["A"], "--as", PERSON, "--reason", "seen"))
        wait_until(lambda: hospital.state(hospital.keys["A"]) is State.INCLUDED, "the study did not go on")
        key = hospital.receive("B")
        wait_until(lambda: hospital.state(key) is State.QUARANTINED, "a study that was received did not go on")
        node.terminate()
        finish(node)
    finally:
        node.kill()
        node.communicate()


def decisions(hospital: Hospital) -> dict[str, tuple[object, ...]]:
    """A command for each thing that a person may decide."""
    decision = ("--as", PERSON, "--reason", "seen")
    return {
        "reject": ("review", "reject", hospital.keys["A"], *decision),
        "release": ("review", "release", hospital.keys["B"], *decision),
        "clinical-import": ("clinical", "import", hospital.sheet("E"), "--as", PERSON),
        "receive": ("receive", hospital.film("F")),
    }


def test_a_killed_command_has_decided_or_not(tmp_path: Path) -> None:
    """Commands killed while a node runs, the node killed with each second of them, then all repeated."""
    killed(tmp_path, seed=1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 22))
def test_many_killed_commands_have_decided_or_not(tmp_path: Path, seed: int) -> None:
    """The same at 80 other moments."""
    killed(tmp_path, seed=seed)


def killed(folder: Path, *, seed: int) -> None:
    moments = random.Random(seed)
    hospital = Hospital(folder, "A", "B", "E")
    node = hospital.start_node()
    try:
        for number, (action, words) in enumerate(decisions(hospital).items()):
            command = hospital.start(*words)
            time.sleep(moments.uniform(0.5, 2.5))
            for victim in (command, node)[: 1 + number % 2]:
                victim.kill()
                victim.communicate()
            check(hospital, action)
            if number % 2:
                node = hospital.start_node()
            finish(hospital.start(*words), 0, ExitCode.USAGE)  # 2: it was made before, and nothing waits any more
            check(hospital, action, made=True)
        waiting = (State.RECEIVED,)
        wait_until(lambda: not hospital.in_ledger(lambda ledger: ledger.studies(*waiting)), "studies did not go on")
        node.terminate()
        finish(node)
    finally:
        node.kill()
        node.communicate()
    ends = {patient: hospital.state(key) for patient, key in hospital.keys.items()}
    assert ends == {"A": State.EXCLUDED, "B": State.INCLUDED, "E": State.INCLUDED}
    assert hospital.in_ledger(lambda ledger: sum(ledger.instance_counts().values())) == 4


def check(hospital: Hospital, action: str, *, made: bool = False) -> None:
    """An event is there exactly where its effect is; once it is `made`, both are."""
    if action == "receive":
        assert hospital.in_ledger(lambda ledger: len(ledger.studies())) == 4 or not made
        return
    study = hospital.keys[{"reject": "A", "release": "B", "clinical-import": "E"}[action]]
    events = [event for event in hospital.events() if event[1] == action]
    assert bool(events) == (hospital.state(study) is not State.QUARANTINED)
    assert {event[0] for event in events} == ({PERSON} if events else set())
    assert events or not made
