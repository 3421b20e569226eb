"""The root's key lies offline, the keys that stay are under a passphrase, and federations founded before go on."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from coordinator.cli import app
from coordinator.home.authority import load_authority
from coordinator.home.init import open_home_store, renew_own_certificates
from coordinator.home.settings import Settings
from shared.agreement import State
from shared.crypto import pki
from shared.crypto.keys import load_signing, private_pem, write_private
from shared.durable import write_whole
from shared.errors.settings import KeyFileInvalid, KeyFileLocked, KeyFileMissing
from shared.member import renew_if_due
from shared.terminal import run_app
from site_node.membership.renewal import member_of, standing
from tests.factories.federation import Federation, make_federation, settings_text

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def ca(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a `ca` command of a federation: its exit code, and what it prints."""

    def call(federation: Federation, *arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["program", "--home", str(federation.home.folder), "ca", *arguments])
        with pytest.raises(SystemExit) as end:
            run_app(app, "program")
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out + captured.err

    return call


def make_signing_root(key: ec.EllipticCurvePrivateKey, federation: str) -> bytes:
    """A root as it was made before there were intermediates: it allows none."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{federation}")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=3650))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.add_extension(names, critical=False).sign(key, hashes.SHA384()).public_bytes(Encoding.PEM)


def change(federation: Federation, **changes: object) -> Federation:
    """The same federation by other settings."""
    settings = Settings.model_validate({**federation.settings.model_dump(), **changes})
    federation.home.settings_file.write_text(settings_text(settings))
    return Federation(federation.home, settings, federation.time, federation.folder)


def test_the_service_runs_without_the_roots_key(tmp_path: Path, ca: Call) -> None:
    """Members enrol, renew and stay through another intermediate, by the one root that they pinned."""
    federation = make_federation(tmp_path)
    code, shown = ca(federation, "export-root", str(tmp_path / "safe"))
    assert code == 0, shown
    assert not federation.home.root_key.exists()
    assert (tmp_path / "safe" / "root.key").stat().st_mode & 0o777 == 0o600
    with federation.serving():
        federation.curator()
        _, first = federation.site("First Hospital")
        assert renew_if_due(member_of(first), datetime.now(UTC) + timedelta(days=21))
    code, said = ca(federation, "issue")
    assert (code != 0, "--root-key" in said) == (True, True)
    assert ca(federation, "issue", "--root-key", str(tmp_path / "safe" / "root.key"))[0] == 0
    with federation.serving():
        _, second = federation.site("Second Hospital")
        assert {standing(first).state, standing(second).state} == {State.EXECUTED}
        assert renew_if_due(member_of(first), datetime.now(UTC) + timedelta(days=21))
        assert standing(first).state is State.EXECUTED
    assert first.root.read_bytes() == second.root.read_bytes() == federation.home.root.read_bytes()
    assert ca(federation, "export-root", str(tmp_path / "safe"))[0] != 0, "there is nothing left to move"


def test_a_federation_with_a_root_alone_goes_on(tmp_path: Path, ca: Call) -> None:
    """As it was founded before there were intermediates: its root signs, and cannot be moved away."""
    federation = make_federation(tmp_path)
    home = federation.home
    key = ec.generate_private_key(ec.SECP384R1())
    old = make_signing_root(key, "test-federation")
    for file in (home.issuing_key, home.issuing_certificate, home.root_key):
        file.unlink()
    write_whole(home.root, old)
    write_private(home.root_key, private_pem(key))
    for certificate in (home.server_certificate, home.operator_certificate):
        certificate.unlink()
    store = open_home_store(home, federation.settings)
    renew_own_certificates(home, federation.settings, federation.identity, store)
    store.close()
    with federation.serving():
        federation.curator()
        _, member = federation.site("Old Hospital")
        assert standing(member).state is State.EXECUTED
    for command in (("export-root", str(tmp_path / "safe")), ("issue",)):
        assert ca(federation, *command)[0] != 0
    assert home.root_key.exists()
    assert not home.issuing_key.exists()


def test_keys_under_a_passphrase_need_no_person(tmp_path: Path, ca: Call) -> None:
    """A plain key of today loads, with advice; once encrypted, it opens by the file that the settings name only."""
    federation = make_federation(tmp_path)
    secret = tmp_path / "passphrase"
    secret.write_text("a long passphrase")
    secret.chmod(0o600)
    assert ca(federation, "encrypt")[0] != 0, "no passphrase is named"
    advice = json.loads(ca(federation, "show", "--json")[1])["concerns"]
    assert [sentence.split()[0] for sentence in advice] == ["root.key", "issuing.key", "signing.pem", "The"]
    named = change(federation, key_passphrase_file=str(secret))
    assert named.identity.root == federation.identity.root
    assert ca(named, "encrypt")[0] == 0
    assert ca(named, "export-root", str(tmp_path / "safe"))[0] == 0
    assert json.loads(ca(named, "show", "--json")[1])["concerns"] == []
    assert b"ENCRYPTED" in (tmp_path / "safe" / "root.key").read_bytes()
    assert named.identity.root == named.home.root.read_bytes()
    with pytest.raises(KeyFileLocked):
        load_authority(named.home, None)
    with pytest.raises(KeyFileLocked):
        load_signing(named.home.signing_key)
    with named.serving():
        named.curator()
        assert standing(named.site("Hospital")[1]).state is State.EXECUTED
    founded = make_federation(tmp_path / "other", key_passphrase_file=str(secret))
    assert b"ENCRYPTED" in founded.home.issuing_key.read_bytes()
    assert b"ENCRYPTED" in founded.home.root_key.read_bytes()
    assert b"ENCRYPTED" in founded.home.signing_key.read_bytes()


def test_an_authority_that_is_not_whole_is_named(tmp_path: Path) -> None:
    """A key without its certificate, or with another's."""
    home = make_federation(tmp_path).home
    other = pki.make_intermediate(pki.make_ca("test-federation"))
    write_whole(home.issuing_certificate, other.certificate_pem)
    with pytest.raises(KeyFileInvalid):
        load_authority(home, None)
    home.issuing_certificate.unlink()
    with pytest.raises(KeyFileMissing, match=r"issuing\.pem"):
        load_authority(home, None)
