"""Where in a site's home a patient's values may be, and where never."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from shared.receipt import Receipt
from shared.signed import Signed
from site_node.home.folder import SiteHome
from site_node.home.free_space import FreeSpace
from site_node.monitoring.figures import NodeFigures
from site_node.monitoring.watch import Watch
from tests.factories.collector import collecting
from tests.factories.dicom import SECRETS, make_ct, make_dx, plant_identifiers, write_file
from tests.factories.federation import Federation, running_federation

COMMAND = (sys.executable, "-c", "from site_node.cli import main; main()")
OF_PATIENTS = frozenset({"spool", "work", "quarantine", "clinical", "inbox"})  # what the README says holds patient data


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


def call(home: SiteHome, *arguments: str) -> str:
    """Everything that a command prints."""
    done = subprocess.run(
        [*COMMAND, "--home", str(home.folder), *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode in {0, 3}, done.stderr
    return done.stdout + done.stderr


def fill(folder: Path) -> set[str]:
    """Write studies with identifiers in attributes, items, private blocks, preambles and file names; returns these."""
    folder.mkdir(parents=True)
    planted = {SECRETS.patient_id, SECRETS.family, SECRETS.given, SECRETS.accession}
    film = make_dx(study="film")
    slices = make_ct(slices=6, rows=64, study="ct", thickness=1.0)
    odd = make_dx(study="odd", Modality="MR")
    for number, dataset in enumerate((film, odd, *slices)):
        planted |= set(plant_identifiers(dataset, SECRETS))
        name = f"{SECRETS.family}^{SECRETS.given} {number}.dcm"
        write_file(dataset, folder / name, preamble=SECRETS.patient_id.encode().ljust(128, b"\0"))
    planted |= {str(uid) for dataset in (film, *slices) for uid in (dataset.StudyInstanceUID, dataset.SOPInstanceUID)}
    (folder / f"{SECRETS.family}.txt").write_text(f"letter about {SECRETS.given}")
    (folder / "cut.dcm").write_bytes((folder / f"{SECRETS.family}^{SECRETS.given} 0.dcm").read_bytes()[:-100])
    return {text for text in planted if len(text) > 3}  # shorter ones occur by chance


def scraped(home: SiteHome) -> str:
    """What Prometheus gets of the node."""
    registry = CollectorRegistry()
    registry.register(NodeFigures(home, FreeSpace(home.folder, 1), Watch(home)))
    return generate_latest(registry).decode()


def test_a_patients_value_is_only_where_the_readme_says(federation: Federation) -> None:
    """After a whole run no output, line to a collector, ledger, library or file name holds a patient value."""
    home, member = federation.site("Leaking Hospital")
    planted = fill(home.folder / "inbox" / "export")
    sheet = home.folder / "inbox" / ".sheet.csv"
    sheet.write_text(f"mrn,covid_status,covid_method,age,sex\n{SECRETS.patient_id},negative,rt-pcr,,\n")
    printed = call(home, "clinical", "import", str(sheet), "--as", "A. Miller")
    with collecting() as collector:
        with home.settings_file.open("a") as settings:
            settings.write(f'\n[otlp]\nendpoint = "{collector.endpoint}"\n')
        printed += call(home, "run", "--once", "--no-federation")
    assert {"receive.done", "receive.problem"} & {record.body.string_value for record in collector.records}
    sent = b"".join(collector.bodies).lower()
    assert [text for text in planted if text.lower().encode() in sent] == []
    printed += call(home, "review", "list") + call(home, "review", "audit") + call(home, "status")
    printed += scraped(home)
    status = json.loads(call(home, "status", "--json"))
    assert status["submitted"] >= 1, json.dumps(status)
    assert [text for text in planted if text.lower() in printed.lower()] == []
    for path in home.folder.rglob("*"):
        parts = path.relative_to(home.folder).parts
        if parts[0] != "inbox":
            assert not any(text.lower() in "/".join(parts).lower() for text in planted), path
        if path.is_file() and parts[0] not in OF_PATIENTS:
            content = path.read_bytes().lower()
            assert [text for text in planted if text.lower().encode() in content] == [], path
    for path in home.receipts.iterdir():
        receipt = Signed.model_validate_json(path.read_bytes()).verified(
            member.coordinator_key, Receipt, what="receipt"
        )
        assert receipt.site_id == member.site_id
