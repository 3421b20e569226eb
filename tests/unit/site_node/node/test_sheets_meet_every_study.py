"""Every study of the ledger meets the sheets, and a new sheet screens again those that it may settle, and no others."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from site_node.home.folder import init_home
from site_node.home.ledger import State
from site_node.home.records import Records
from site_node.node.clinical_sheets import _known_studies, _reopen
from site_node.node.intake import receive_source
from site_node.node.open import Node, open_node
from site_node.study import Reason, Received, Severity
from tests.factories.dicom import make_dx, write_file

NAMES = ("a", "b", "c")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    for name in NAMES:
        write_file(make_dx(study=name, AccessionNumber=name), tmp_path / "in" / f"{name}.dcm")
    with open_node(init_home(tmp_path / "home", name="General")) as node:
        receive_source(node, tmp_path / "in")
        yield node


def test_a_study_whose_files_are_deleted_has_no_keys(node: Node) -> None:
    """It is there all the same; the others are known by what is in their files."""
    first, *others = (entry.key for entry in node.ledger.studies())
    shutil.rmtree(node.home.spool / first)
    known = {study.key: study.keys for study in _known_studies(node)}
    assert known.keys() == {first, *others}
    assert known[first] is None
    assert len({tuple(sorted((known[key] or {}).items())) for key in others}) == len(others)
    assert all(known[key] for key in others)


@pytest.mark.parametrize(
    ("code", "severity", "is_settled"),
    [
        ("clinical-no-row", Severity.REVIEW, True),
        ("age-unknown", Severity.REVIEW, True),
        ("clinical-no-row", Severity.REJECT, False),
        ("mixed-patients", Severity.REVIEW, False),
    ],
)
def test_what_a_sheet_may_settle_is_screened_again(node: Node, code: str, severity: Severity, is_settled: bool) -> None:
    """Whole, with the count of those that a person waited for; also where a screen has begun with the sheets before."""
    entry, begun, included = node.ledger.studies()
    why = Reason(code=code, message="A sentence.", severity=severity)
    node.ledger.advance(entry.key, State.QUARANTINED, reasons=(why,))
    node.ledger.advance(included.key, State.INCLUDED)
    images = {instance.name for instance in Records(node.home).read(entry.key, Received).instances}
    before = node.ledger.study(begun.key), node.ledger.study(included.key)
    assert _reopen(node) == is_settled
    after = node.ledger.study(entry.key)
    assert after.state is (State.RECEIVED if is_settled else State.QUARANTINED)
    assert node.ledger.names(entry.key) == images
    assert not node.ledger.study(begun.key).is_as(before[0])
    assert node.ledger.study(included.key).is_as(before[1])
