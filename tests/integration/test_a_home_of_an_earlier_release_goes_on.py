"""Filled homes that earlier releases left are opened by this one, lose nothing, and go on; an older node submits."""

import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import coordinator.home.init
import site_node.node.composition
import site_node.node.open
from coordinator.audit.service import AuditService
from coordinator.editions.service import EditionService
from coordinator.home.init import open_home_store, open_identity
from coordinator.home.settings import Home
from coordinator.store.records import Certificate
from shared.crypto import pki
from shared.crypto.keys import load_tls
from shared.crypto.pki import Role
from shared.errors.protocol import EditionOver
from shared.ids import Sha256
from shared.protocol.loader import Protocol, load_protocol
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.membership.record import IdentityFiles, load_membership
from site_node.node.intake import receive_source
from site_node.node.open import open_node
from site_node.node.passes import run_pass
from tests.factories.federation import Federation, Time, make_settings
from tests.factories.films import film
from tests.factories.released_homes import unpack

DATA = Path(__file__).resolve().parents[1] / "data"
RELEASES = sorted(file.parent.name for file in DATA.glob("*/site.tar.zst"))
SITE = (site_node.node.composition, site_node.node.open)
LEFT = {State.SUBMITTED: 2, State.SEALED: 1, State.QUARANTINED: 1}


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> Path:
    """The folder of a release's homes."""
    folder: Path = DATA / request.param
    return folder


@pytest.fixture
def federation(release: Path, tmp_path: Path) -> Federation:
    """Its coordinator, on ports that are free."""
    home = Home(unpack(release / "coordinator.tar.zst", tmp_path / "coordinator"))
    before, ports = home.settings(), make_settings()
    text = home.settings_file.read_text()
    for name in ("enrolment_port", "main_port", "fleet_port"):
        text = text.replace(f"{getattr(before, name)}", f"{getattr(ports, name)}")
    home.settings_file.write_text(text)
    return Federation(home, home.settings(), Time(), tmp_path)


@pytest.fixture
def hospital(release: Path, federation: Federation, tmp_path: Path) -> SiteHome:
    """Its site, where the coordinator is now, with a certificate that has not ended since."""
    home = SiteHome(unpack(release / "site.tar.zst", tmp_path / "site"))
    file, member = IdentityFiles(home).membership, load_membership(home)
    text, addresses = file.read_text(), federation.settings.addresses
    for before, now in ((member.addresses.main, addresses.main), (member.addresses.enrolment, addresses.enrolment)):
        text = text.replace(before, now)
    file.write_text(text)
    identity = federation.identity
    uri = identity.uri(Role.SITE, member.site_id)
    certificate = pki.issue(identity.authority, pki.make_csr(load_tls(home.tls_key)), uri)
    IdentityFiles(home).certificate.write_bytes(certificate)
    store, ends = open_home_store(federation.home, federation.settings), pki.expires_at(certificate)
    with store.begin() as work:
        serial = pki.serial_of(certificate)
        work.add_certificate(Certificate(serial=serial, role=Role.SITE, name=member.site_id, ends_at=ends))
    store.close()
    return home


def install(monkeypatch: pytest.MonkeyPatch, protocol: Protocol, *modules: Any) -> None:
    """Install an edition of the protocol at one side."""
    for module in modules:
        monkeypatch.setattr(module, "load_protocol", lambda _name: protocol)
        monkeypatch.setattr(module, "load_edition", lambda _name: protocol.named, raising=False)


def edition(name: str, digest: str) -> Protocol:
    return load_protocol().model_copy(update={"edition": name, "digest": Sha256(digest)})


def move(home: SiteHome, *, new: str = "") -> tuple[dict[State, int], str]:
    """Where the studies are after a pass, and what blocked it."""
    with open_node(home) as node:
        if new:
            receive_source(node, film(home, new))
        blocked = run_pass(node, State.SUBMITTED).progress.blocked
        return node.ledger.state_counts(), "" if blocked is None else blocked.code


def rows_of(ledger: Path) -> tuple[Counter[str], int]:
    """How many rows each table has, and the ledger's version."""
    with closing(sqlite3.connect(ledger)) as database:
        inserts = [line for line in database.iterdump() if line.startswith("INSERT")]
        (version,) = database.execute("pragma user_version").fetchone()
    return Counter(line.split('"')[1] for line in inserts), version


def test_a_ledger_loses_nothing(release: Path, tmp_path: Path) -> None:
    """Every row that it had is there, and a copy of before, where anything was moved."""
    home = SiteHome(unpack(release / "site.tar.zst", tmp_path / "site"))
    before, version = rows_of(home.ledger)
    with closing(Ledger(home.ledger)) as ledger:
        assert ledger.state_counts() == LEFT
    after, moved = rows_of(home.ledger)
    assert before.items() <= after.items()
    assert home.ledger.with_name(f"ledger.sqlite.version-{version}").exists() is (moved != version)


@pytest.mark.slow
def test_old_and_new_go_on_together(
    federation: Federation, hospital: SiteHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The coordinator's log is whole; a node of the release before submits under the edition that it has.

    Once that is listed, until its date; then the node upgrades, and receives and submits a new study.
    """
    with federation.reading() as reading:
        (old,) = reading.editions()
    new = edition("2099.1", "e" * 64)
    install(monkeypatch, new, coordinator.home.init)
    install(monkeypatch, edition(old.edition, old.digest), *SITE)
    store = open_home_store(federation.home, federation.settings)
    identity = open_identity(federation.home, federation.settings)
    assert AuditService(store, identity, federation.home.audit_head).verify()[0].intact
    with federation.serving():
        assert move(hospital) == (LEFT, EditionOver().code)
        EditionService(store, identity).accept(old.edition, datetime.now(UTC) + timedelta(days=1), actor="operator")
        sent = {State.SUBMITTED: 3, State.QUARANTINED: 1}
        assert move(hospital) == (sent, "")
        install(monkeypatch, new, *SITE)
        assert move(hospital, new="P4") == ({**sent, State.SUBMITTED: 4}, "")
    store.close()


def test_older_nodes_are_understood(release: Path) -> None:
    """No message that a node of an earlier release sends or expects has changed its meaning on the wire."""
    buf, wire = Path(sys.executable).with_name("buf"), DATA.parents[1] / "shared" / "proto"
    if not buf.exists():
        pytest.skip("install buf-bin")
    checked = subprocess.run(
        [buf, "breaking", wire, "--against", release / "wire.binpb"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
