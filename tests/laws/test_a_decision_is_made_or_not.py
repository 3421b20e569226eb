"""A kill in the middle of a decision leaves it made, with who and why, or not made; the command can be repeated."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shared.durable import write_whole
from shared.errors.inputs import NotInQuarantine
from site_node.blanking import BURNED_IN_TEXT, FINDINGS_FILE, FrameWithText, Sides, TextFindings
from site_node.clinical.table import read_table
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.home.sheets_in_use import SheetsInUse
from site_node.node.clinical_sheets import import_sheet
from site_node.node.open import Node
from site_node.review import decisions
from site_node.study import Reason, Severity
from tests.factories.pipeline import enter, key_of, make_home, make_study

KEY = key_of("burned")
WHO: dict[str, Any] = {"actor": "A. Miller", "reason": "seen"}
HELD = tuple(
    Reason(code=code, message="A sentence.", severity=Severity.REVIEW)
    for code in (BURNED_IN_TEXT, "clinical-row-missing")
)
SHEET = "mrn,covid_status,covid_method,covid_timing,age,sex\nP1,positive,rt-pcr,,,\n"


class Killed(BaseException):
    """Simulates SIGKILL: the open transaction is never committed."""


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    """A home with one study in quarantine, for text at one place and for want of a clinical row."""
    home = make_home(tmp_path / "home")
    ledger = Ledger(home.ledger)
    enter(home, ledger, make_study(home, "burned"))
    ledger.advance(KEY, State.QUARANTINED, reasons=HELD)
    ledger.close()
    (home.quarantine / KEY).mkdir()
    Image.new("RGB", (100, 80)).save(home.quarantine / KEY / "0.png")
    frame = FrameWithText(picture="0.png", instance="1.2.3", frame=0, boxes=(Sides(0, 3, 40, 20),))
    (home.quarantine / KEY / FINDINGS_FILE).write_text(TextFindings(frames=(frame,)).model_dump_json())
    (tmp_path / "sheet.csv").write_text(SHEET)
    return home


def release(home: SiteHome, ledger: Ledger) -> None:
    decisions.release(home, ledger, KEY, **WHO)


def blank(home: SiteHome, ledger: Ledger) -> None:
    decisions.blank(home, ledger, KEY, **WHO)


def reject(home: SiteHome, ledger: Ledger) -> None:
    decisions.reject(home, ledger, KEY, **WHO)


def import_clinical(home: SiteHome, ledger: Ledger) -> None:
    sheet = home.folder.parent / "sheet.csv"
    import_sheet(Node(home, home.load(), ledger, None), sheet, read_table(sheet), None, actor="A. Miller")


EFFECTS: dict[Callable[[SiteHome, Ledger], None], Callable[[Ledger], bool]] = {
    release: lambda ledger: ledger.study(KEY).released == {reason.code for reason in HELD},
    blank: lambda ledger: ledger.blanking(KEY) is not None,
    reject: lambda ledger: ledger.study(KEY).state is State.EXCLUDED,
    import_clinical: lambda ledger: len(ledger.sheets.all()) == 1,
}


def killed_at(point: int, patch: pytest.MonkeyPatch) -> None:
    """Have the process killed at one of the steps that write a file or change the ledger."""
    left = iter(range(point, -1, -1))

    def burn() -> None:
        if next(left, 0) == 0:
            raise Killed

    def around(step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            burn()
            result = step(*arguments, **options)
            burn()
            return result

        return call

    for table, name in ((Ledger, "audit"), (Ledger, "advance"), (Ledger, "reopen"), (SheetsInUse, "put")):
        patch.setattr(table, name, around(getattr(table, name)))
    patch.setattr("site_node.clinical.sheet_store.write_whole", around(write_whole))


@pytest.mark.parametrize("point", range(10))
@pytest.mark.parametrize("decide", EFFECTS)
def test_a_killed_decision_is_whole_or_absent(
    home: SiteHome, decide: Callable[[SiteHome, Ledger], None], point: int
) -> None:
    """There is an event where there is the effect, and no effect without one; repeated, the decision is made."""
    with pytest.MonkeyPatch.context() as patch:
        killed_at(point, patch)
        ledger = Ledger(home.ledger)
        try:
            decide(home, ledger)
        except Killed:
            pass
        finally:
            ledger.close()
    ledger = Ledger(home.ledger)
    made = [event.actor for event in ledger.events()]
    moved = ledger.study(KEY).state is not State.QUARANTINED
    assert (len(made), moved) == (int(EFFECTS[decide](ledger)),) * 2
    try:
        decide(home, ledger)
    except NotInQuarantine:
        assert made, "only a decision that was made leaves nothing to decide"
    assert EFFECTS[decide](ledger)
    assert set(made) <= {"A. Miller"} == {event.actor for event in ledger.events()}
    ledger.close()


def test_a_copied_sheet_without_an_import_is_not_used(home: SiteHome, tmp_path: Path) -> None:
    """What a killed import left in the folder decides about no study."""
    ledger = Ledger(home.ledger)
    shutil.copy(tmp_path / "sheet.csv", home.clinical / f"{'0' * 32}.comma.csv")
    node = Node(home, home.load(), ledger, None)
    assert node.stages.sheets == ()
    stages = node.stages
    import_clinical(home, ledger)
    assert len(stages.sheets) == 1, "stages that are composed already see a sheet that is imported meanwhile"
    ledger.close()
