"""The command answers people and scripts."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import typer
from PIL import Image, ImageDraw, ImageFont
from pydicom.uid import SecondaryCaptureImageStorage

from shared.errors.base import ExitCode
from site_node.cli import app
from site_node.home.folder import SiteHome
from tests.factories.dicom import SECRETS, make_ct, make_dx, plant_identifiers, write_file
from tests.unit.site_node.commands.conftest import Run

VERBS = (
    "init agreement enrol receive screen clinical deidentify review validate seal submit federate run status key",
    "explain doctor",
)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A chest CT, a film of a child, a film without a patient, and a letter."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for number, dataset in enumerate(make_ct(slices=12, rows=64, study="ct", thickness=1.0)):
        write_file(dataset, folder / f"ct{number}.dcm")
    write_file(
        make_dx(study="child", PatientID="CHILD", PatientBirthDate="20150101", PatientAge="009Y"), folder / "child"
    )
    write_file(make_dx(study="nobody", PatientID=None), folder / "nobody")
    (folder / "letter.dcm").write_text("dear colleague")
    return folder


@pytest.fixture
def home(tmp_path: Path, run: Run) -> Path:
    assert run("--home", tmp_path / "home", "init", "--name", "General")[0] == 0
    return tmp_path / "home"


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    paths, context = [], click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        paths.append((*path, name))
        if isinstance(command, click.Group):
            paths += commands(command, (*path, name))
    return paths


def root() -> click.Group:
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group)
    return group


def test_every_verb_of_the_stages_is_there() -> None:
    assert set(root().list_commands(click.Context(root()))) >= set(" ".join(VERBS).split())


@pytest.mark.parametrize("path", commands(root()), ids=" ".join)
def test_every_help_has_an_example(run: Run, path: tuple[str, ...]) -> None:
    """Each verb's help says what it does and gives an example that starts with the command's name."""
    code, shown, _ = run(*path, "--help")
    words = " ".join(shown.split())
    assert code == 0
    if len(path) > 1 or not isinstance(root().get_command(click.Context(root()), path[0]), click.Group):
        assert re.search(rf"Example: ricord-site .*\b{path[-1]}\b", words)


def test_init_makes_a_home_once(run: Run, home: Path) -> None:
    code, _, output = run("--home", home, "init")
    assert (code, output.count("\n")) == (ExitCode.USAGE, 1)
    assert str(home) in output
    shown = json.loads(run("--home", home, "key", "fingerprint", "--json")[1])
    assert shown["fingerprint"].startswith("SHA256:")
    assert (home / "federation-policy.toml").exists()


def test_receive_and_screen_in_a_home_and_every_place_is_counted(run: Run, home: Path, archive: Path) -> None:
    """Before enrolment studies are received and screened; the sums of the status agree."""
    code, shown, _ = run("--home", home, "receive", archive, "--json")
    assert code == ExitCode.PARTIAL
    assert json.loads(shown)["files"] == {"not-dicom": 1}
    assert run("--home", home, "screen")[0] == ExitCode.PARTIAL
    status = json.loads(run("--home", home, "status", "--json")[1])
    places = [status[name]["total"] for name in ("excluded", "quarantined", "refused", "waiting")]
    assert status["received"] == 3 == sum(places) + status["submitted"]
    assert sum(status["instances"].values()) == 14
    assert "under-age" in status["excluded"]["reasons"]
    assert status["quarantined"]["reasons"]["no-patient-id"] == 1
    assert "General" in run("--home", home, "status")[1]


def test_a_sheet_that_is_imported_sends_waiting_studies_on(run: Run, home: Path, archive: Path, tmp_path: Path) -> None:
    """A study without a clinical row waits for a person, and goes on only with its row."""
    run("--home", home, "receive", archive)
    run("--home", home, "screen")
    before = json.loads(run("--home", home, "status", "--json")[1])
    assert "clinical-row-missing" in before["quarantined"]["reasons"]
    sheet = tmp_path / "clinical.csv"
    patient = make_ct(slices=1)[0].PatientID
    sheet.write_text(
        "mrn,covid_status,covid_method,covid_timing,age,sex\n" + f"{patient},positive,rt-pcr,,,\n", encoding="utf-8"
    )
    run("--home", home, "clinical", "import", sheet)
    run("--home", home, "screen")
    after = json.loads(run("--home", home, "status", "--json")[1])
    assert "clinical-row-missing" not in after["quarantined"]["reasons"]


def test_review_decides_and_keeps_who_and_why(run: Run, home: Path, archive: Path) -> None:
    run("--home", home, "receive", archive)
    (item,) = json.loads(run("--home", home, "review", "list", "--json")[1])
    assert item["reasons"][0]["code"] == "no-patient-id"
    key = item["key"]
    assert run("--home", home, "review", "release", key, "--reason", "please")[0] == ExitCode.USAGE
    assert run("--home", home, "review", "reject", key[:8], "--reason", "a test image")[0] == 0
    assert json.loads(run("--home", home, "review", "list", "--json")[1]) == []
    (event,) = json.loads(run("--home", home, "review", "audit", "--json")[1])
    assert (event["action"], event["detail"]) == ("reject", "a test image")


def test_screen_alone_gives_one_line_a_series_and_one_a_study(run: Run, archive: Path) -> None:
    """JSON Lines with four keys; a stopped study makes the exit code 3; no home is needed or made."""
    code, shown, _ = run("screen", archive, "--json")
    lines = [json.loads(line) for line in shown.splitlines()]
    assert code == ExitCode.PARTIAL
    studies = [line for line in lines if line["study"] and line["series"] is None]
    assert len(studies) == 3
    assert all(set(line) == {"study", "series", "outcome", "reasons"} for line in lines if line["study"])
    outcomes = {line["study"]: line["outcome"] for line in studies}
    assert Counter(outcomes.values())["review"] >= 1
    ct = str(make_ct(slices=1, study="ct")[0].StudyInstanceUID)
    child = str(make_dx(study="child").StudyInstanceUID)
    assert outcomes[child] == "reject"
    assert outcomes[ct] in {"accept", "warn"}
    reasons = next(line["reasons"] for line in studies if line["study"] == child)
    assert {"code", "severity", "attribute", "message"} <= set(reasons[0])


def test_screen_alone_of_good_studies_ends_with_zero(run: Run, archive: Path) -> None:
    for name in ("child", "nobody", "letter.dcm"):
        (archive / name).unlink()
    assert run("screen", archive)[0] == ExitCode.DONE


def deidentified(run: Run, source: Path, out: Path, *more: object) -> tuple[int, list[dict[str, Any]]]:
    key = out.with_suffix(".key")
    if not key.exists():
        key.write_bytes(bytes(range(32)))
        key.chmod(0o600)
    report = out.with_suffix(".jsonl")
    arguments = ("--site-id", "123456", "--key-file", key, "--report", report, "--no-pixel-check", *more)
    code, _, _ = run("deidentify", source, out, *arguments)
    assert report.stat().st_mode & 0o077 == 0
    return code, [json.loads(line) for line in report.read_text().splitlines()]


def test_deidentify_alone_reports_every_file(run: Run, archive: Path, tmp_path: Path) -> None:
    """One line for each input file; outputs lie under new identifiers, whole, and a second run makes the same."""
    out = tmp_path / "out"
    code, lines = deidentified(run, archive, out)
    assert code == ExitCode.PARTIAL
    assert {line["source"] for line in lines} == {path.name for path in archive.iterdir()}
    outcomes = {line["source"]: (line["outcome"], [reason["code"] for reason in line["reasons"]]) for line in lines}
    assert outcomes["child"] == ("excluded", ["under-age"])
    assert outcomes["nobody"] == ("quarantined", ["no-patient-id"])
    assert outcomes["letter.dcm"] == ("refused", ["not-dicom"])
    names = sorted(line["output"] for line in lines if line["outcome"] == "deidentified")
    assert len(names) == 12
    assert names == sorted(path.relative_to(out).as_posix() for path in out.rglob("*.dcm"))
    contents = {name: (out / name).read_bytes() for name in names}
    assert deidentified(run, archive, out)[1] == lines
    assert {name: (out / name).read_bytes() for name in names} == contents


def test_no_planted_identifier_is_in_any_output(run: Run, tmp_path: Path) -> None:
    """Neither files nor names hold what was planted."""
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    film = make_dx()
    planted = plant_identifiers(film, SECRETS)
    write_file(film, source / "film.dcm", preamble=SECRETS.patient_id.encode().ljust(128, b"\0"))
    code, lines = deidentified(run, source, out)
    assert (code, [line["outcome"] for line in lines]) == (0, ["deidentified"])
    (output,) = out.rglob("*.dcm")
    content = output.read_bytes().lower()
    assert [text for text in (*planted, SECRETS.patient_id) if text.lower().encode() in content] == []


@pytest.mark.slow
def test_text_in_the_pixels_is_quarantined(run: Run, tmp_path: Path) -> None:
    """The pixel check is part of the command: a film that shows a name is quarantined, without an output."""
    source, out, key = tmp_path / "source", tmp_path / "out", tmp_path / "key"
    source.mkdir()
    key.write_bytes(bytes(32))
    key.chmod(0o600)
    film = make_dx(rows=512)
    picture = Image.fromarray(np.full((512, 512), 1000, dtype=np.uint16).astype(np.int32))
    ImageDraw.Draw(picture).text((40, 40), "KELSTRUPOVA JANIKAELA", fill=4000, font=ImageFont.load_default(28))
    film.PixelData = np.asarray(picture).astype(np.uint16).tobytes()
    write_file(film, source / "film.dcm")
    report = tmp_path / "report.jsonl"
    code, _, _ = run("deidentify", source, out, "--site-id", "123456", "--key-file", key, "--report", report)
    (line,) = [json.loads(text) for text in report.read_text().splitlines()]
    assert (code, line["outcome"]) == (ExitCode.PARTIAL, "quarantined")
    assert [reason["code"] for reason in line["reasons"]] == ["burned-in-text"]
    assert list(out.rglob("*.dcm")) == []


def test_whole_studies_leaves_a_study_out_for_one_file(run: Run, archive: Path, tmp_path: Path) -> None:
    """A file that is left out does not stop its study, unless that is asked for."""
    odd = make_ct(slices=13, rows=64, study="ct", thickness=1.0)[12]
    odd.SOPClassUID = SecondaryCaptureImageStorage
    write_file(odd, archive / "odd.dcm")
    _, lines = deidentified(run, archive, tmp_path / "part")
    assert Counter(line["outcome"] for line in lines)["deidentified"] == 12
    _, lines = deidentified(run, archive, tmp_path / "whole", "--whole-studies")
    assert Counter(line["outcome"] for line in lines)["deidentified"] == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("receive", "{archive}"), (ExitCode.USAGE, "RICORD_SITE_HOME")),
        (("--home", "{nowhere}", "status"), (ExitCode.USAGE, "init")),
        (("--home", "{home}", "receive", "{nowhere}"), (ExitCode.USAGE, "does not exist")),
        (("--home", "{home}", "receive", "{empty}"), (ExitCode.USAGE, "holds no DICOM")),
        (("--home", "{home}", "clinical", "import", "{nowhere}"), (ExitCode.USAGE, "does not exist")),
        (("--home", "{home}", "enrol", "--token", "RICORD1-x"), (ExitCode.REFUSED, "token")),
        (("--home", "{home}", "agreement", "read", "--token", "x"), (ExitCode.REFUSED, "token")),
        (("--home", "{home}", "federate"), (ExitCode.USAGE, "enrol")),
        (("--home", "{home}", "review", "reject", "00000000", "--reason", "x"), (ExitCode.USAGE, "no study")),
        (("screen", "{empty}"), (ExitCode.USAGE, "holds no DICOM")),
        (("screen", "{archive}", "--criteria", "no-such"), (ExitCode.FAILED, "no-such")),
        (("deidentify", "{archive}", "{empty}"), (ExitCode.USAGE, "--key-file")),
        (("deidentify", "{archive}", "{archive}/out", "--site-id", "1", "--key-file", "x"), (None, "error")),
        (("explain", "--profile", "no-such"), (ExitCode.FAILED, "no-such")),
        (("clinical", "template", "{archive}/x.txt"), (ExitCode.USAGE, ".xlsx")),
        (("no-such-verb",), (ExitCode.USAGE, "--help")),
    ],
)
def test_every_mistake_gets_one_clear_sentence(
    run: Run, home: Path, archive: Path, arguments: tuple[str, ...], expected: tuple[int | None, str]
) -> None:
    """A sentence that names what is wrong, a code that is not zero and no traceback, with `--debug` or without."""
    empty = home.parent / "empty"
    empty.mkdir()
    code, words = expected
    places = {"home": home, "archive": archive, "empty": empty, "nowhere": home.parent / "nowhere"}
    for debug in ((), ("--debug",)):
        exit_code, _, output = run(*(argument.format(**places) for argument in arguments), *debug)
        assert exit_code != 0
        assert code is None or exit_code == code
        assert words in output
        assert [line for line in output.splitlines() if line.startswith("error: ")] == [output.splitlines()[-1]]
        assert "Traceback" not in output


def test_a_wrong_setting_names_its_line(run: Run, home: Path) -> None:
    file = SiteHome(home).settings_file
    file.write_text(file.read_text() + "clour = 'red'\n")
    code, _, output = run("--home", home, "status")
    assert code == ExitCode.USAGE
    assert "`clour`" in output
    assert f"line {len(file.read_text().splitlines())}" in output


def test_a_key_survives_backup_and_restore(run: Run, home: Path, tmp_path: Path) -> None:
    safe = tmp_path / "safe.key"
    secret = SiteHome(home).pseudonym_key.read_bytes()
    assert run("--home", home, "key", "backup", safe)[0] == 0
    assert safe.stat().st_mode & 0o077 == 0
    assert run("--home", home, "key", "backup", safe)[0] != 0
    SiteHome(home).pseudonym_key.unlink()
    assert run("--home", home, "key", "restore", safe)[0] == 0
    assert SiteHome(home).pseudonym_key.read_bytes() == secret


def test_another_secret_never_replaces_the_first(run: Run, home: Path, archive: Path, tmp_path: Path) -> None:
    """Neither `restore` nor a swapped file gives known patients new pseudonyms."""
    other = tmp_path / "other.key"
    other.write_bytes(bytes(32))
    other.chmod(0o600)
    code, _, output = run("--home", home, "key", "restore", other)
    assert code == ExitCode.FAILED
    assert str(other) in output
    SiteHome(home).pseudonym_key.write_bytes(bytes(32))
    code, _, output = run("--home", home, "receive", archive)
    assert code == ExitCode.FAILED
    assert "pseudonym.key" in output


def test_explain_says_what_happens(run: Run, archive: Path, tmp_path: Path) -> None:
    assert "PatientName" in run("explain")[1]
    assert "Removed" in run("explain", "--what-leaves")[1]
    shown = run("explain", archive / "ct0.dcm")[1]
    assert str(make_ct(slices=1)[0].PatientID) in shown
    assert run("clinical", "template", tmp_path / "sheet.xlsx")[0] == 0


def test_run_once_receives_the_inbox(run: Run, home: Path, archive: Path) -> None:
    """An entry of the inbox is received once, stays where it is, and is received again only after a change."""
    archive.rename(home / "inbox" / "export")
    assert run("--home", home, "run", "--once", "--no-federation")[0] == 0
    before = json.loads(run("--home", home, "status", "--json")[1])
    assert before["received"] == 3
    assert run("--home", home, "run", "--once", "--no-federation", "--json")[0] == 0
    assert json.loads(run("--home", home, "status", "--json")[1]) == before
    assert (home / "inbox" / "export" / "child").exists()
