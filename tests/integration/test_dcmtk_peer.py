"""dcmtk, which shares no code with us, reads what we write and accepts what we send."""

import subprocess
import time
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from shared.errors.transport import PacsUnreachable
from shared.ids import SiteId
from shared.protocol.loader import load_profile
from site_node.deidentify.study import deidentify
from site_node.network.store_scu import SendOutcome, list_files, send
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.settings.dimse import SendSettings
from site_node.study import Deidentified
from tests.factories.dicom import make_ct, make_dx, plant_identifiers, write_file
from tests.factories.ports import free_port
from tests.factories.studies import make_included, make_received
from tests.peers import needs_peer

SYNTAXES = (
    *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian),
    *(DeflatedExplicitVRLittleEndian, RLELossless, JPEG2000Lossless),
)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: str(syntax.name))
@pytest.mark.parametrize("kind", ["dx", "ct"])
def test_dcmdump_reads_every_file_without_a_complaint(tmp_path: Path, kind: str, syntax: UID) -> None:
    """In every transfer syntax the output is valid DICOM to another implementation, and names the new patient."""
    dcmdump = needs_peer("dcmdump", "dcmtk")
    datasets = [make_dx()] if kind == "dx" else make_ct()
    planted = [text for dataset in datasets for text in plant_identifiers(dataset)]
    included = make_included(make_received(tmp_path / "spool", datasets, syntax))
    pseudonyms = Pseudonyms(bytes(range(32)), SiteId("123456"))
    done = deidentify(included, profile=load_profile("ricord"), pseudonyms=pseudonyms, out=tmp_path / "out")
    assert isinstance(done, Deidentified)
    for instance in done.instances:
        read = subprocess.run([dcmdump, "+L", str(instance.path)], check=False, capture_output=True, text=True)
        assert read.returncode == 0
        assert not [line for line in read.stderr.splitlines() if line.startswith(("E:", "F:", "W:"))]
        assert f"[{done.patient}]" in read.stdout
        assert not [text for text in planted if len(text) > 3 and text in read.stdout]


def test_storescp_accepts_what_we_send(tmp_path: Path) -> None:
    """Every file arrives unchanged, in its own transfer syntax."""
    storescp = needs_peer("storescp", "dcmtk")
    source, sink = tmp_path / "source", tmp_path / "kept"
    source.mkdir()
    sink.mkdir()
    for number, dataset in enumerate(make_ct(slices=len(SYNTAXES), rows=64)):
        write_file(dataset, source / f"{number}.dcm", SYNTAXES[number])
    settings = SendSettings(host="127.0.0.1", port=free_port(), ae_title="STORESCP")
    process = subprocess.Popen([storescp, "--fork", "+xa", "-od", str(sink), str(settings.port)])
    try:
        done = _send_when_up(source, settings)
    finally:
        process.terminate()
        process.wait()
    assert (len(done.sent), done.failed) == (len(SYNTAXES), {})
    theirs = {dataset.SOPInstanceUID: dataset for dataset in map(dcmread, sink.iterdir())}
    for path in source.iterdir():
        ours = dcmread(path)
        assert theirs[ours.SOPInstanceUID] == ours
        assert theirs[ours.SOPInstanceUID].file_meta.TransferSyntaxUID == ours.file_meta.TransferSyntaxUID


def _send_when_up(source: Path, settings: SendSettings) -> SendOutcome:
    for _ in range(100):
        try:
            return send(list_files([source]).files, settings)
        except PacsUnreachable:
            time.sleep(0.05)
    raise TimeoutError
