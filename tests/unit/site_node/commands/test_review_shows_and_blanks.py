"""`review show`, `blank` and `report` from the command line, and the warning where the pixel check is off."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from shared.errors.base import ExitCode
from shared.ids import Uid
from shared.protocol.loader import load_profile
from site_node.blanking import BURNED_IN_TEXT, FINDINGS_FILE, FrameWithText, Sides, TextFindings
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.home.words import NO_STUDY
from site_node.pixels.inspect import WITHOUT
from site_node.reasons import catalogue
from site_node.study import Reason, Severity
from site_node.validate.report import make_report, write_report
from tests.factories.pipeline import enter, key_of, make_study
from tests.factories.validated import make_validated
from tests.unit.site_node.commands.conftest import Run

KEY = key_of("burned")
INSTANCE = Uid("1.2.3")
TEXT = Reason(code=BURNED_IN_TEXT, message="Two pieces of text.", severity=Severity.REVIEW, attribute="PixelData")


@pytest.fixture
def home(tmp_path: Path, run: Run) -> SiteHome:
    """A home with one study in quarantine, because of text at two places of one frame."""
    assert run("--home", tmp_path / "home", "init", "--name", "General")[0] == 0
    home = SiteHome(tmp_path / "home")
    ledger = Ledger(home.ledger)
    enter(home, ledger, make_study(home, "burned"))
    ledger.advance(KEY, State.QUARANTINED, reasons=(TEXT,))
    ledger.close()
    folder = home.quarantine / KEY
    folder.mkdir(mode=0o700)
    Image.new("RGB", (100, 80)).save(folder / "0.png")
    boxes = (Sides(-2, 3, 40, 20), Sides(50, 60, 90, 70))
    findings = TextFindings(frames=(FrameWithText(picture="0.png", instance=INSTANCE, frame=0, boxes=boxes),))
    (folder / FINDINGS_FILE).write_text(findings.model_dump_json())
    return home


def test_show_names_the_pictures_the_reasons_and_the_boxes(run: Run, home: SiteHome) -> None:
    """The boxes shown can be passed to `review blank`."""
    code, output, _ = run("--home", home.folder, "review", "show", KEY[:8])
    assert code == 0
    assert str(home.quarantine / KEY / "0.png") in output
    assert "burned-in-text: Two pieces of text." in output
    assert "0.png:0,3,40,20" in output
    shown = json.loads(run("--home", home.folder, "review", "show", KEY, "--json")[1])
    assert shown["frames"][0]["boxes"] == [[-2, 3, 40, 20], [50, 60, 90, 70]]


@pytest.mark.parametrize("words", [("status",), ("review", "list"), ("review", "show", KEY), ("explain", "--reasons")])
def test_who_reads_a_reason_reads_what_to_do(
    run: Run, home: SiteHome, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """The advice of the catalogue stands where a reason is printed for a person, and in no JSON."""
    monkeypatch.setenv("COLUMNS", "400")  # no cell is folded
    advice = catalogue()[BURNED_IN_TEXT].advice
    code, output, _ = run("--home", home.folder, *words)
    assert (code, advice in output) == (0, True)
    if words[0] != "explain":
        assert advice not in run("--home", home.folder, *words, "--json")[1]


def test_named_boxes_or_all_are_blanked_and_each_decision_is_audited(run: Run, home: SiteHome) -> None:
    """Who, what and why; the ledger holds the boxes, clipped to the picture's left and top."""
    arguments = ("--home", home.folder, "review", "blank", KEY, "--reason", "a name", "--json")
    assert run(*arguments, "--box", "0.png:1,2,3")[0] == ExitCode.USAGE
    code, output, _ = run(*arguments)
    assert (code, json.loads(output)["boxes"]) == (0, 2)
    ledger = Ledger(home.ledger)
    blanking = ledger.blanking(KEY)
    ledger.close()
    boxes = blanking.boxes if blanking else ()
    assert [(box.instance, box.frame, box.left, box.top, box.right, box.bottom) for box in boxes] == [
        (INSTANCE, 0, 0, 3, 40, 20),
        (INSTANCE, 0, 50, 60, 90, 70),
    ]
    assert run(*arguments)[0] == ExitCode.USAGE  # it no longer waits
    events = json.loads(run("--home", home.folder, "review", "audit", "--json")[1])
    assert [(event["actor"], event["action"], event["detail"]) for event in events] == [
        ("A. Miller", "blank", "a name [2 boxes in 1 frames]")
    ]


@pytest.mark.parametrize("verb", ["accept", "release"])
def test_accept_and_release_are_one_act_with_a_reason(run: Run, home: SiteHome, verb: str) -> None:
    """Whatever held the study: without a reason nothing happens, and a reason given is kept."""
    words = ("--home", home.folder, "review", verb, KEY[:8])
    assert run(*words)[0] == ExitCode.USAGE
    assert run(*words, "--reason", " ")[0] == ExitCode.USAGE
    assert json.loads(run("--home", home.folder, "review", "audit", "--json")[1]) == []
    code, output, _ = run(*words, "--reason", "seen by me", "--json")
    assert (code, json.loads(output)) == (0, {"study": KEY, "decision": "released"})
    (event,) = json.loads(run("--home", home.folder, "review", "audit", "--json")[1])
    assert (event["action"], event["key"], event["detail"]) == ("release", KEY, "seen by me")
    assert json.loads(run("--home", home.folder, "review", "list", "--json")[1]) == []


def test_a_report_is_a_page_to_sign(run: Run, home: SiteHome, tmp_path: Path) -> None:
    """Counts by attribute, checks, profile, software, decisions; bound to the file by its digest; no half-cell."""
    study = make_validated(tmp_path / "study").study
    now = datetime.now(UTC)
    content = make_report(
        study, load_profile(), findings=(), outcomes=Counter(), inherited=0, checked_at=now, searched=False
    )
    digest = write_report(home.reports / f"{study.study_instance_uid}.json", content)
    assert run("--home", home.folder, "review", "report", KEY)[0] == ExitCode.USAGE  # no report of this study yet
    ledger = Ledger(home.ledger)
    ledger.audit("dr", "release", KEY, "seen | by me")
    ledger.advance(KEY, State.VALIDATED, study=study.study_instance_uid)
    ledger.close()
    for name in (KEY[:8], study.study_instance_uid):
        code, page, _ = run("--home", home.folder, "review", "report", name)
        assert code == 0
        assert all(f"## {title}" in page for title in ("Pixels", "Removed", "Changed", "Kept", "What was checked"))
        assert all(
            text in page for text in (digest, content.profile_digest, content.software, "NOT searched", "Signature: __")
        )
        assert "dr: release - seen / by me" in page
    assert json.loads(run("--home", home.folder, "review", "report", KEY, "--json")[1])["blanked_boxes"] == 0


def test_a_pixel_check_switched_off_gives_a_warning(run: Run, home: SiteHome) -> None:
    """On standard error, whenever studies move with the check switched off, and never otherwise."""
    assert run("--home", home.folder, "run", "--once")[2] == ""
    text = home.settings_file.read_text().replace("pixel_check = true ", "pixel_check = false ")
    home.settings_file.write_text(text)
    for verb in (("run", "--once"), ("deidentify",), ("validate",)):
        assert WITHOUT in run("--home", home.folder, *verb)[2]


def test_a_decision_says_who_goes_on(run: Run, home: SiteHome) -> None:
    """The node that is running, or the command that a person has to start."""
    words = ("--home", home.folder, "review", "blank", KEY, "--reason", "a name")
    with home.writing(), home.serving():
        output = run(*words)[1]
    assert output == f"Study {KEY} is to be blanked. Next: the node that is running goes on.\n"


def test_a_study_that_left_quarantine_is_said_to_be_elsewhere(run: Run, home: SiteHome) -> None:
    """After a decision, or while the study is screened again: where it is, and where decisions are shown."""
    words = ("--home", home.folder, "review")
    output = run(*words, "release", KEY, "--reason", "seen by me")[1]
    assert output == f"Study {KEY} is released. Next: `ricord-site run`.\n"
    for verb in (("show", KEY[:8]), ("release", KEY[:8], "--reason", "again")):
        code, _, error = run(*words, *verb)
        assert (code, f"{KEY} does not wait for a person, it is received" in error) == (ExitCode.USAGE, True)
        assert "review audit" in error
    assert "There is no study with a name that begins so" in run(*words, "show", "00000000")[2]


def test_the_audit_names_a_study_only_where_one_was_decided_on(run: Run, home: SiteHome) -> None:
    """The import of a sheet concerns no study, so its row has no key."""
    ledger = Ledger(home.ledger)
    ledger.audit("A. Miller", "clinical-import", NO_STUDY, "sheet 70413d28c569: 16 rows")
    ledger.close()
    output = run("--home", home.folder, "review", "audit")[1]
    assert ("clinical-import" in output, NO_STUDY in output) == (True, False)
