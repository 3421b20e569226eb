"""Worker processes over the real stages, from a folder to sealed studies."""

from pathlib import Path

import pytest

from site_node.home.folder import SiteHome
from site_node.home.ledger import State
from site_node.node import crew
from site_node.node.intake import receive_source
from site_node.node.open import open_node
from site_node.node.passes import run_pass
from tests.factories.dicom import make_dx, write_file
from tests.factories.federation import running_federation
from tests.factories.films import prepare

STUDIES = 3


def ends(home: SiteHome, source: Path, workers: int) -> list[tuple[str, str, int | None]]:
    """State, gravest reason and number of each study; the second has a child's film."""
    prepare(home, [f"P{number}" for number in range(STUDIES)], workers=workers)
    with open_node(home) as node:
        receive_source(node, source)
        completed = run_pass(node, State.SEALED)
        entries = node.ledger.studies()
        assert {entry.key: entry.state for entry in entries} == completed.reached
        assert len(list(home.outbox.glob("*.age"))) == STUDIES - 1
        return sorted((entry.state.value, entry.lead, entry.sequence) for entry in entries)


@pytest.mark.slow
def test_two_workers_end_studies_as_one_process_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same states are reached, the ledger holds the same, and the workers seal."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(STUDIES):
        age = "009Y" if number == 1 else "045Y"
        dataset = make_dx(study=f"s{number}", PatientID=f"P{number}", PatientAge=age, PatientBirthDate="")
        write_file(dataset, source / f"{number}.dcm")
    monkeypatch.setattr(crew, "START_SECONDS", crew.IMAGE_SECONDS)
    with running_federation(tmp_path) as federation:
        federation.curator()
        alone, paired = (ends(federation.site(f"Hospital {workers}")[0], source, workers) for workers in (1, 2))
    assert alone == paired
    assert [state for state, _, _ in alone] == ["excluded", "sealed", "sealed"]
