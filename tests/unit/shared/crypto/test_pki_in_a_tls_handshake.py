"""The certificates in a TLS handshake, in memory, as OpenSSL judges them."""

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from shared.crypto import pki
from shared.crypto.keys import private_pem

SERVER, SITE = "spiffe://demo/coordinator/main", "spiffe://demo/site/123456"


def context(
    folder: Path,
    side: int,
    ca: pki.Authority,
    uri: str,
    *,
    root: pki.Authority | None = None,
    dns: tuple[str, ...] = (),
) -> ssl.SSLContext:
    """One side's TLS context: its own leaf of `ca`, trusting `root` (or `ca`) only, strictly."""
    key = ec.generate_private_key(ec.SECP256R1())
    file = folder / f"{side}.pem"
    file.write_bytes(private_pem(key) + pki.issue(ca, pki.make_csr(key), uri, dns=dns))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if side else ssl.PROTOCOL_TLS_CLIENT)
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.verify_flags |= ssl.VERIFY_X509_STRICT
    tls.load_cert_chain(file)
    tls.load_verify_locations(cadata=(root or ca).root_pem.decode())
    return tls


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Run a handshake and send one byte to the client; raises `ssl.SSLError` where a side refuses the other."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_end = client.wrap_bio(to_client, to_server, server_hostname=host)
    server_end = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client_end, server_end):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    server_end.write(b"x")
    assert client_end.read(1) == b"x"
    return client_end, server_end


@pytest.mark.parametrize("links", [2, 3])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_both_sides_know_each_other(host: str, links: int, tmp_path: Path) -> None:
    ca = pki.make_ca("demo") if links == 2 else pki.make_intermediate(pki.make_ca("demo"))
    server = context(tmp_path, 1, ca, SERVER, dns=("localhost", "127.0.0.1"))
    client = context(tmp_path, 0, ca, SITE)
    client_end, server_end = handshake(client, server, host)
    for side, uri in ((client_end, SERVER), (server_end, SITE)):
        der = side.getpeercert(binary_form=True)
        assert der is not None
        assert pki.check_certificate(ssl.DER_cert_to_PEM_cert(der).encode() + ca.chain_pem, ca.root_pem).uri == uri


def test_a_host_that_the_certificate_does_not_name_is_refused(tmp_path: Path) -> None:
    ca = pki.make_ca("demo")
    server, client = context(tmp_path, 1, ca, SERVER, dns=("localhost",)), context(tmp_path, 0, ca, SITE)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(client, server, "example.org")


def test_a_clients_certificate_is_no_servers(tmp_path: Path) -> None:
    ca = pki.make_ca("demo")
    server, client = context(tmp_path, 1, ca, SITE), context(tmp_path, 0, ca, SITE)
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        handshake(client, server, "localhost")


def test_another_root_is_refused_by_either_side(tmp_path: Path) -> None:
    ca, other = pki.make_ca("demo"), pki.make_ca("demo")
    for client_ca, server_ca in ((ca, other), (other, ca)):
        server = context(tmp_path, 1, server_ca, SERVER, root=ca, dns=("localhost",))
        client = context(tmp_path, 0, client_ca, SITE, root=ca)
        with pytest.raises(ssl.SSLError):
            handshake(client, server, "localhost")
