"""A filled home of each program, as a release leaves it: `python -m tests.factories.released_homes tests/data/VERSION`.

Made once for each release that moves a schema, and kept; until 0.1.0 is released, made again when its schemas change.
The keys in them are of no federation but this one.
"""

import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

from backports import zstd

from site_node.home.folder import SiteHome
from site_node.home.ledger import State
from site_node.home.withdrawals import Level
from site_node.home.words import NO_STUDY
from site_node.node.intake import receive_source
from site_node.node.open import open_node
from site_node.node.passes import run_pass
from site_node.submit.withdrawals import withdraw_pending
from tests.factories.federation import make_federation
from tests.factories.films import film, prepare

ROOT = Path(__file__).resolve().parents[2]
EDITIONS = "2026.11-2099.12"
NAMES = ("P1", "P2", "P3", "P4")  # P1 and P2 are submitted and P2 is withdrawn, P3 is sealed, P5 has no clinical row


def make(folder: Path) -> None:
    """A federation of one hospital with a study in each place."""
    federation = make_federation(folder)
    with federation.serving():
        federation.curator()
        home, member = federation.site("Hospital", editions=EDITIONS)
        prepare(home, NAMES, workers=1)
        for patient, until in (
            ("P1", State.SUBMITTED),
            ("P2", State.SUBMITTED),
            ("P3", State.SEALED),
            ("P5", State.SEALED),
        ):
            _receive(home, patient, until)
        with open_node(home) as node:
            uid = node.ledger.studies(State.SUBMITTED)[0].study or ""
            node.ledger.withdrawals.enter(Level.STUDY, [uid], node.ledger.audit("A. Miller", "withdraw", NO_STUDY, ""))
            withdraw_pending(home, node.ledger, member)


def pack(folder: Path, file: Path) -> None:
    """A folder as tar in zstd."""
    buffer = BytesIO()
    with tarfile.open(mode="w", fileobj=buffer) as tar:
        tar.add(folder, arcname="")
    file.write_bytes(zstd.compress(buffer.getvalue(), 19))


def unpack(file: Path, folder: Path) -> Path:
    """The folder, with its modes."""
    data = zstd.decompress(file.read_bytes())
    with tarfile.open(fileobj=BytesIO(data)) as tar:
        tar.extractall(folder, filter="tar")
    return folder


def _receive(home: SiteHome, patient: str, until: State) -> None:
    source = film(home, patient)
    with open_node(home) as node:
        receive_source(node, source)
        run_pass(node, until)
    source.unlink()


def main(target: Path) -> None:
    """Write the homes, and the wire as buf describes it."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        pack(Path(folder) / "coordinator", target / "coordinator.tar.zst")
        pack(Path(folder) / "Hospital", target / "site.tar.zst")
    buf = Path(sys.executable).with_name("buf")
    subprocess.run([buf, "build", ROOT / "shared" / "proto", "-o", target / "wire.binpb"], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
