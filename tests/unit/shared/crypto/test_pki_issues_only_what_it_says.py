from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store

from shared.crypto import pki
from shared.errors.inputs import InvalidArgument, InvalidIdentifier
from shared.errors.trust import CertificateExpired, CertificateForeign, ClockWrong

SITE = "spiffe://demo-federation/site/123456"


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def ca() -> pki.Authority:
    return pki.make_ca("demo-federation")


def test_an_issued_certificate_names_its_peer(ca: pki.Authority) -> None:
    for role, name in (("site", "123456"), ("coordinator", "main"), ("curator", "rsna"), ("researcher", "a.b-c_d")):
        uri = f"spiffe://demo-federation/{role}/{name}"
        peer = pki.check_certificate(pki.issue(ca, pki.make_csr(new_key()), uri), ca.certificate_pem)
        assert (peer.uri, peer.role, peer.name) == (uri, role, name)


def test_a_certificate_of_another_root_is_foreign(ca: pki.Authority) -> None:
    """A certificate of another root is foreign even when that root has the same federation name."""
    stranger = pki.make_ca("demo-federation")
    leaf = pki.issue(stranger, pki.make_csr(new_key()), SITE)
    with pytest.raises(CertificateForeign):
        pki.check_certificate(leaf, ca.certificate_pem)
    with pytest.raises(CertificateForeign):
        pki.check_certificate(ca.certificate_pem, ca.certificate_pem)
    with pytest.raises(CertificateForeign):
        pki.check_certificate(b"text", ca.certificate_pem)


def test_a_certificate_that_may_issue_others_is_no_peer(ca: pki.Authority) -> None:
    """A certificate authority is not a peer even when the root signed it under a peer's name."""
    name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(SITE)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        ca.certificate.subject, x509.Name([]), new_key().public_key(), 1, now - timedelta(1), now + timedelta(1)
    )
    for is_ca in (False, True):
        limits = x509.BasicConstraints(ca=is_ca, path_length=None)
        leaf = (
            builder.add_extension(name, critical=True)
            .add_extension(limits, critical=True)
            .sign(ca.key, hashes.SHA384())
        )
        pem = leaf.public_bytes(Encoding.PEM)
        if is_ca:
            with pytest.raises(CertificateForeign, match="123456"):
                pki.check_certificate(pem, ca.certificate_pem)
        else:
            pki.check_certificate(pem, ca.certificate_pem)


def test_an_intermediate_speaks_for_its_root_only(ca: pki.Authority) -> None:
    """Members that pin the root accept its leaves, which carry it, and none of a stranger's or of a further one."""
    intermediate, csr = pki.make_intermediate(ca), pki.make_csr(new_key())
    leaf = pki.issue(intermediate, csr, SITE)
    assert pki.check_certificate(leaf, ca.certificate_pem).uri == SITE
    assert intermediate.root_pem == ca.certificate_pem
    alone, chain = leaf.removesuffix(intermediate.certificate_pem), intermediate.chain_pem
    stranger = pki.make_intermediate(pki.make_ca(ca.federation))
    false = pki.issue(stranger, csr, SITE).removesuffix(stranger.chain_pem)
    for pem in (alone, alone + stranger.chain_pem, false + chain, false + stranger.chain_pem, leaf + chain, chain):
        with pytest.raises(CertificateForeign):
            pki.check_certificate(pem, ca.certificate_pem)
    further = pki.Authority(intermediate.key, intermediate.certificate, intermediate.certificate)
    with pytest.raises(InvalidArgument):
        pki.make_intermediate(further)


def test_a_leaf_ends_with_its_intermediate(ca: pki.Authority) -> None:
    """And that with its root."""
    intermediate = pki.make_intermediate(ca, days=3)
    leaf = pki.issue(intermediate, pki.make_csr(new_key()), SITE, days=30)
    assert pki.expires_at(leaf) == pki.expires_at(intermediate.certificate_pem)
    assert pki.expires_at(pki.make_intermediate(ca, days=9999).certificate_pem) == pki.expires_at(ca.certificate_pem)


def test_a_certificate_holds_in_its_time_only(ca: pki.Authority) -> None:
    leaf = pki.issue(ca, pki.make_csr(new_key()), SITE, days=30)
    now = datetime.now(UTC)
    pki.check_certificate(leaf, ca.certificate_pem, now=now + timedelta(days=29))
    for moment, error in ((now + timedelta(days=31), CertificateExpired), (now - timedelta(days=1), ClockWrong)):
        with pytest.raises(error, match="site/123456"):
            pki.check_certificate(leaf, ca.certificate_pem, now=moment)


def test_renewal_is_due_at_two_thirds_of_life(ca: pki.Authority) -> None:
    leaf = pki.issue(ca, pki.make_csr(new_key()), SITE, days=30)
    life = pki.expires_at(leaf) - datetime.now(UTC)
    due = pki.renew_at(leaf) - datetime.now(UTC)
    assert abs(due / life - 2 / 3) < 0.01


def test_a_request_must_prove_its_key(ca: pki.Authority) -> None:
    request = x509.load_pem_x509_csr(pki.make_csr(new_key()))
    der = bytearray(request.public_bytes(Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    with pytest.raises(InvalidArgument):
        pki.issue(ca, forged, SITE)


def test_a_request_with_another_kind_of_key_is_refused(ca: pki.Authority) -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    wrong = (
        builder.sign(ed25519.Ed25519PrivateKey.generate(), None),
        builder.sign(ec.generate_private_key(ec.SECP384R1()), hashes.SHA256()),
    )
    for request in wrong:
        with pytest.raises(InvalidArgument):
            pki.issue(ca, request.public_bytes(Encoding.PEM), SITE)
    with pytest.raises(InvalidArgument):
        pki.issue(ca, b"text", SITE)


def test_a_request_cannot_choose_its_name(ca: pki.Authority) -> None:
    """What a request asks for is ignored: the issuer names the peer."""
    name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://demo-federation/coordinator/main")])
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "coordinator")]))
        .add_extension(name, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(new_key(), hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )
    leaf = pki.issue(ca, csr, SITE)
    assert pki.check_certificate(leaf, ca.certificate_pem).uri == SITE
    assert b"coordinator" not in x509.load_pem_x509_certificate(leaf).public_bytes(Encoding.DER)


def test_a_root_issues_for_its_own_federation_only(ca: pki.Authority) -> None:
    with pytest.raises(CertificateForeign):
        pki.issue(ca, pki.make_csr(new_key()), "spiffe://other/site/123456")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://demo",
        "spiffe://demo/site",
        "spiffe://demo/site/12345",
        "spiffe://demo/site/012345",
        "spiffe://demo/site/123456/x",
        "spiffe://demo/admin/x",
        "spiffe://DEMO/site/123456",
        "spiffe:///site/123456",
        "spiffe://demo/curator/..",
        "spiffe://demo/curator/a b",
        "spiffe://demo/curator/a\n",
        "https://demo/curator/a",
        "spiffe://a@demo/curator/a",
    ],
)
def test_text_that_is_no_spiffe_name_is_refused(uri: str) -> None:
    with pytest.raises(InvalidIdentifier):
        pki.parse_spiffe(uri)


def test_a_server_certificate_passes_an_independent_verifier(ca: pki.Authority) -> None:
    """An RFC 5280 path builder accepts the server by host name and refuses a client's certificate as a server's."""
    csr = pki.make_csr(new_key())
    uri = "spiffe://demo-federation/coordinator/main"
    server = x509.load_pem_x509_certificate(pki.issue(ca, csr, uri, dns=("localhost", "127.0.0.1")))
    client = x509.load_pem_x509_certificate(pki.issue(ca, csr, SITE))
    builder = PolicyBuilder().store(Store([ca.certificate]))
    verifier = builder.build_server_verifier(x509.DNSName("localhost"))
    assert len(verifier.verify(server, [])) == 2
    verified = builder.build_client_verifier().verify(client, [])
    assert verified.subjects is not None
    with pytest.raises(x509.verification.VerificationError):
        verifier.verify(client, [])


def test_an_authority_survives_its_files(ca: pki.Authority) -> None:
    again = pki.Authority.from_pem(ca.key_pem, ca.certificate_pem, ca.root_pem)
    assert again.federation == "demo-federation"
    leaf = pki.issue(again, pki.make_csr(new_key()), SITE)
    pki.check_certificate(leaf, ca.certificate_pem)
    with pytest.raises(ValueError, match="not this certificate"):
        pki.Authority.from_pem(pki.make_ca("demo-federation").key_pem, ca.certificate_pem, ca.root_pem)


def test_serials_and_fingerprints_tell_certificates_apart(ca: pki.Authority) -> None:
    leaves = [pki.issue(ca, pki.make_csr(new_key()), SITE) for _ in range(3)]
    assert len({pki.serial_of(leaf) for leaf in leaves}) == 3
    assert len({pki.fingerprint_of(leaf) for leaf in leaves}) == 3


@pytest.mark.parametrize("name", ["", "Demo", "a b", "-a", "a-", "a/b", "a" * 64])
def test_a_federation_name_is_a_dns_label(name: str) -> None:
    with pytest.raises(InvalidIdentifier):
        pki.make_ca(name)
