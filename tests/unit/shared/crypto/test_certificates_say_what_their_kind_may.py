"""A root, an intermediate and a leaf: what each may do, for how long, and until which moment it is good."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from shared.crypto import pki
from shared.errors.inputs import InvalidArgument, InvalidIdentifier
from shared.errors.trust import CertificateExpired, CertificateForeign, ClockWrong, SignatureInvalid

SITE = "spiffe://demo/site/123456"
CSR = pki.make_csr(ec.generate_private_key(ec.SECP256R1()))
TICK = timedelta(microseconds=1)
MADE = datetime.now(UTC)
ROOT = pki.make_ca("demo")
BETWEEN = pki.make_intermediate(ROOT)
LEAF, SERVER = pki.issue(BETWEEN, CSR, SITE), pki.issue(BETWEEN, CSR, SITE, dns=("centre.example", "10.0.0.7"))


def first(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificates(pem)[0]


KINDS = [
    (ROOT.certificate, pki.ROOT_DAYS, x509.BasicConstraints(ca=True, path_length=1)),
    (BETWEEN.certificate, pki.INTERMEDIATE_DAYS, x509.BasicConstraints(ca=True, path_length=0)),
    (first(LEAF), pki.LEAF_DAYS, x509.BasicConstraints(ca=False, path_length=None)),
]


def test_lives_are_ten_years_three_years_and_a_month() -> None:
    """As ARCHITECTURE.md says."""
    assert (pki.ROOT_DAYS, pki.INTERMEDIATE_DAYS, pki.LEAF_DAYS) == (3650, 1095, 30)
    for certificate, days, _ in KINDS:
        life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert life == timedelta(days=days, minutes=5)
        assert abs(MADE - certificate.not_valid_before_utc - timedelta(minutes=5)) < timedelta(minutes=1)


@pytest.mark.parametrize(("certificate", "_days", "limits"), KINDS, ids=["root", "intermediate", "leaf"])
def test_only_what_may_sign_says_so(certificate: x509.Certificate, _days: int, limits: x509.BasicConstraints) -> None:
    """A leaf signs handshakes and no certificate; whoever signs certificates signs nothing else."""
    extensions = {type(each.value): each for each in certificate.extensions}
    assert extensions[x509.BasicConstraints].value == limits
    usage = extensions[x509.KeyUsage].value
    assert isinstance(usage, x509.KeyUsage)
    assert usage == x509.KeyUsage(
        digital_signature=not limits.ca, key_cert_sign=limits.ca, crl_sign=limits.ca, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    critical = {kind for kind, each in extensions.items() if each.critical}
    assert critical == {x509.BasicConstraints, x509.KeyUsage}
    assert x509.SubjectKeyIdentifier in extensions
    assert (x509.AuthorityKeyIdentifier in extensions) == (certificate is not ROOT.certificate)


def test_a_server_has_its_hosts_and_a_client_has_none() -> None:
    """An address is an address and not a name; only with hosts may a leaf serve."""
    for pem, hosts, purposes in (
        (LEAF, [], [ExtendedKeyUsageOID.CLIENT_AUTH]),
        (SERVER, ["centre.example"], [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
    ):
        extensions = first(pem).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [SITE]
        assert names.get_values_for_type(x509.DNSName) == hosts
        assert names.get_values_for_type(x509.IPAddress) == ([ip_address("10.0.0.7")] if hosts else [])
        assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == purposes


def test_a_long_name_is_cut_where_x509_cuts_it() -> None:
    """A common name has 64 characters at most (RFC 5280, `ub-common-name`); the SPIFFE name stays whole."""
    federation = ".".join(["a" * 63, "b" * 63])
    root = pki.make_ca(federation)
    uri = f"spiffe://{federation}/researcher/{'c' * 63}"
    leaf = pki.issue(pki.make_intermediate(root), CSR, uri)
    assert pki.check_certificate(leaf, root.root_pem).uri == uri
    for certificate in x509.load_pem_x509_certificates(leaf):
        [name] = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        assert len(str(name.value)) == 64


def test_a_federation_is_named_as_a_host_may_be() -> None:
    """Labels of 63 characters, 255 in all; a person's name has 63."""
    longest = ".".join(["a" * 63] * 4)
    for name in ("a" * 63, longest):
        assert pki.parse_spiffe(f"spiffe://{name}/site/123456").federation == name
    for name in ("a" * 64, f"{longest}.a"):
        with pytest.raises(InvalidIdentifier):
            pki.parse_spiffe(f"spiffe://{name}/site/123456")
    with pytest.raises(InvalidIdentifier):
        pki.parse_spiffe(f"spiffe://demo/curator/{'a' * 64}")


def test_a_certificate_is_good_from_its_first_moment_to_before_its_last() -> None:
    """And so is its intermediate; a clock before the first is the one that is wrong."""
    begins, ends = first(LEAF).not_valid_before_utc, first(LEAF).not_valid_after_utc
    for now in (begins, ends - TICK):
        assert pki.check_certificate(LEAF, ROOT.root_pem, now=now).uri == SITE
    with pytest.raises(ClockWrong):
        pki.check_certificate(LEAF, ROOT.root_pem, now=begins - TICK)
    with pytest.raises(CertificateExpired):
        pki.check_certificate(LEAF, ROOT.root_pem, now=ends)
    assert pki.renew_at(LEAF) == begins + (ends - begins) * 2 / 3
    short = pki.make_intermediate(ROOT, days=3)
    alone = pki.issue(pki.Authority(short.key, short.certificate, short.certificate), CSR, SITE)
    chain = alone + pki.make_intermediate(ROOT, days=1).certificate_pem
    with pytest.raises(CertificateForeign):
        pki.check_certificate(chain, ROOT.root_pem)


def leaf_of(authority: pki.Authority, uri: str) -> bytes:
    """A leaf as whoever holds a key can sign it, of whatever name, and the certificate that goes with the key."""
    builder = pki._builder(pki._name("x"), authority.certificate.subject, authority.key.public_key(), 1).add_extension(
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False
    ).add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)  # fmt: skip
    return builder.sign(authority.key, hashes.SHA384()).public_bytes(Encoding.PEM) + authority.chain_pem


def test_a_leaf_signed_by_a_leaf_is_foreign() -> None:
    """Nor does an intermediate, or a leaf, speak for another federation than its root's."""
    key = ec.generate_private_key(ec.SECP256R1())
    member = pki.issue(ROOT, pki.make_csr(key), SITE)
    false = pki.Authority(key, first(member), ROOT.certificate)
    other = pki.make_ca("other")
    assert pki.check_certificate(leaf_of(BETWEEN, SITE), ROOT.root_pem).uri == SITE
    for pem in (leaf_of(false, SITE), leaf_of(ROOT, "spiffe://other/site/123456")):
        with pytest.raises(CertificateForeign):
            pki.check_certificate(pem, ROOT.root_pem)
    stranger = pki._signs(
        pki._builder(pki._name("y"), ROOT.certificate.subject, other.key.public_key(), 1), "other", path_length=0
    ).sign(ROOT.key, hashes.SHA384())
    theirs = pki.Authority(other.key, stranger, ROOT.certificate)
    for uri in ("spiffe://other/site/123456", SITE):
        with pytest.raises(CertificateForeign):
            pki.check_certificate(leaf_of(theirs, uri), ROOT.root_pem)


def test_an_authority_signs_by_its_own_key_of_its_kind() -> None:
    """Neither by another's nor by an Ed25519 key, though a certificate be its own."""
    key, name = ed25519.Ed25519PrivateKey.generate(), pki._name("x")
    begins = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    own = builder.serial_number(1).not_valid_before(begins).not_valid_after(begins + timedelta(days=1)).sign(key, None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for key_pem, certificate in ((pem, own.public_bytes(Encoding.PEM)), (ROOT.key_pem, BETWEEN.certificate_pem)):
        with pytest.raises(ValueError, match="not this certificate's"):
            pki.Authority.from_pem(key_pem, certificate, ROOT.root_pem)


def test_an_authority_without_room_below_makes_no_intermediate() -> None:
    """Its root of trust stays the root, which an intermediate carries and a root does not repeat."""
    with pytest.raises(InvalidArgument):
        pki.make_intermediate(BETWEEN)
    assert (ROOT.chain_pem, BETWEEN.chain_pem) == (b"", BETWEEN.certificate_pem)
    assert BETWEEN.federation == "demo"
    again = pki.Authority.from_pem(BETWEEN.key_pem, BETWEEN.certificate_pem, ROOT.root_pem)
    assert pki.check_certificate(pki.issue(again, CSR, SITE), ROOT.root_pem).uri == SITE


def signed_by_root(names: list[str], key: ec.EllipticCurvePrivateKey, *, ca: bool = False) -> x509.Certificate:
    """A certificate that the root signed, with any names."""
    builder = pki._builder(pki._name("x"), ROOT.certificate.subject, key.public_key(), 1).add_extension(
        x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True
    )
    uris = [x509.UniformResourceIdentifier(name) for name in names]
    return builder.add_extension(x509.SubjectAlternativeName(uris), critical=False).sign(ROOT.key, hashes.SHA384())


def test_a_certificate_has_one_name() -> None:
    """Of two, neither counts, in whichever order they stand."""
    key = ec.generate_private_key(ec.SECP256R1())
    curator = "spiffe://demo/curator/carla"
    pem = signed_by_root([SITE], key).public_bytes(Encoding.PEM)
    assert pki.check_certificate(pem, ROOT.root_pem).uri == SITE
    for names in ([SITE, curator], [curator, SITE], [SITE, SITE]):
        pem = signed_by_root(names, key).public_bytes(Encoding.PEM)
        with pytest.raises(CertificateForeign):
            pki.check_certificate(pem, ROOT.root_pem)


@pytest.mark.parametrize("ca", [False, True])
def test_only_what_may_sign_is_an_intermediate(*, ca: bool) -> None:
    """A certificate with the federation's own name that may sign none signs no member."""
    key = ec.generate_private_key(ec.SECP256R1())
    between = pki.Authority(key, signed_by_root(["spiffe://demo"], key, ca=ca), ROOT.certificate)
    leaf = pki.issue(between, CSR, SITE)
    if ca:
        assert pki.check_certificate(leaf, ROOT.root_pem).uri == SITE
    else:
        with pytest.raises(CertificateForeign):
            pki.check_certificate(leaf, ROOT.root_pem)


def test_an_endorsement_is_of_the_certificates_own_key() -> None:
    """Over all of the data, in its one spelling; another key, other data and another kind of key endorse nothing."""
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    leaf = pki.issue(BETWEEN, pki.make_csr(key), SITE)
    signature = pki.endorse(key, b"data")
    pki.check_endorsement(leaf, b"data", signature, what="it")
    for data, wrong in (
        (b"dat", signature), (b"data", pki.endorse(other, b"data")), (b"data", ""), (b"data", "AAAA"),
        (b"data", f"{signature[:4]} {signature[4:]}"), (b"data", f"{signature}\n"),
    ):  # fmt: skip
        with pytest.raises(SignatureInvalid, match="it"):
            pki.check_endorsement(leaf, data, wrong, what="it")
    edwards = pki._builder(pki._name("x"), pki._name("x"), ed25519.Ed25519PrivateKey.generate().public_key(), 1)  # type: ignore[arg-type] # of a kind that no member has
    pem = edwards.sign(ROOT.key, hashes.SHA384()).public_bytes(Encoding.PEM)
    with pytest.raises(SignatureInvalid):
        pki.check_endorsement(pem, b"data", signature, what="it")
