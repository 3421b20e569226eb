"""The federation's certificates: one root, an intermediate, short-lived leaves, one SPIFFE name in each.

A leaf's only identity is its URI SAN `spiffe://<federation>/<role>/<name>` (SPIFFE X.509-SVID section 2); host names
are added for servers so that TLS clients can check whom they called. Members pin the root, whose key can lie offline:
an intermediate signs leaves, and follows each in its PEM. In federations that were founded without one the root signs
them itself. So a chain has two or three links and is checked here without a path builder. All PEM values are bytes.
"""

import base64
import hashlib
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.crypto.keys import private_pem
from shared.errors.inputs import InvalidArgument, InvalidIdentifier
from shared.errors.trust import CertificateExpired, CertificateForeign, ClockWrong, SignatureInvalid
from shared.frozen import Frozen
from shared.ids import Sha256, SiteId

LEAF_DAYS = 30
ROOT_DAYS = 3650
INTERMEDIATE_DAYS = 1095
SKEW = timedelta(minutes=5)  # clocks differ; a fresh certificate must work at once
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_FEDERATION = re.compile(rf"(?=.{{1,255}}$){_LABEL}(?:\.{_LABEL})*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SPIFFE = re.compile(r"spiffe://([^/]+)/([^/]+)/([^/]+)")


class Role(StrEnum):
    """What kind of member a peer is."""

    SITE = "site"
    COORDINATOR = "coordinator"
    CURATOR = "curator"
    RESEARCHER = "researcher"
    OBSERVER = "observer"


class Peer(Frozen):
    """Who holds a certificate."""

    federation: str
    role: Role
    name: str  # a site's is its SITEID

    @property
    def uri(self) -> str:
        """The SPIFFE name."""
        return f"spiffe://{self.federation}/{self.role}/{self.name}"


@dataclass(frozen=True)
class Authority:
    """Who signs certificates: a root, or an intermediate that `root` signed."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    root: x509.Certificate

    @classmethod
    def from_pem(cls, key_pem: bytes, certificate_pem: bytes, root_pem: bytes) -> Self:
        """Read all; raises `ValueError` when they do not fit."""
        key = load_pem_private_key(key_pem, password=None)
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise ValueError("the key is not this certificate's")
        return cls(key, certificate, x509.load_pem_x509_certificate(root_pem))

    @property
    def key_pem(self) -> bytes:
        """PKCS #8 PEM, for `shared.crypto.keys.write_private` only."""
        return private_pem(self.key)

    @property
    def certificate_pem(self) -> bytes:
        """Its own certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def root_pem(self) -> bytes:
        """What every member holds as its only root of trust."""
        return self.root.public_bytes(Encoding.PEM)

    @property
    def chain_pem(self) -> bytes:
        """What a leaf carries besides itself: the intermediate, or nothing."""
        return b"" if self.certificate == self.root else self.certificate_pem

    @property
    def federation(self) -> str:
        """The federation it speaks for: its trust domain."""
        return _only_uri(self.certificate).removeprefix("spiffe://")


def parse_spiffe(uri: str) -> Peer:
    """The peer a SPIFFE name means; raises `InvalidIdentifier` on any other text."""
    match = _SPIFFE.fullmatch(uri)
    if match is None:
        raise InvalidIdentifier(kind="SPIFFE name")
    federation, role, name = match.groups()
    if not _FEDERATION.fullmatch(federation) or role not in set(Role) or not _NAME.fullmatch(name):
        raise InvalidIdentifier(kind="SPIFFE name")
    return Peer(federation=federation, role=Role(role), name=SiteId(name) if role == Role.SITE else name)


def make_ca(federation: str, *, days: int = ROOT_DAYS) -> Authority:
    """A new P-384 root for `federation`, a DNS-like label; raises `InvalidIdentifier` on any other text."""
    if not _FEDERATION.fullmatch(federation):
        raise InvalidIdentifier(kind="federation name")
    key = ec.generate_private_key(ec.SECP384R1())
    name = _name(f"{federation} root"[:64])
    builder = _builder(name, name, key.public_key(), days)
    root = _signs(builder, federation, path_length=1).sign(key, hashes.SHA384())
    return Authority(key, root, root)


def make_intermediate(root: Authority, *, days: int = INTERMEDIATE_DAYS) -> Authority:
    """A new intermediate of `root`; raises `InvalidArgument` for the root of a federation founded without one."""
    if root.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0:
        raise InvalidArgument(
            name="The root", problem="it was made to sign members itself, and can have no intermediate"
        )
    key = ec.generate_private_key(ec.SECP384R1())
    name, ends = _name(f"{root.federation} intermediate"[:64]), root.certificate.not_valid_after_utc
    builder = _builder(name, root.certificate.subject, key.public_key(), days, no_later_than=ends).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(root.key.public_key()), critical=False
    )
    certificate = _signs(builder, root.federation, path_length=0).sign(root.key, hashes.SHA384())
    return Authority(key, certificate, root.certificate)


def make_csr(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A PEM request that proves possession of `key` and asks for no name: the issuer decides that."""
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


def issue(ca: Authority, csr: bytes, spiffe_uri: str, *, days: int = LEAF_DAYS, dns: Sequence[str] = ()) -> bytes:
    """A leaf certificate (PEM) for the key that signed `csr`, named `spiffe_uri` whatever the request says.

    The intermediate follows in the PEM, and the leaf ends no later than it.

    `dns` are the host names and addresses of a server; a leaf without them is for clients only. Raises
    `InvalidArgument` when the request is damaged, its signature is not its key's, or the key is not P-256;
    `InvalidIdentifier` when the name is malformed; `CertificateForeign` when it belongs to another federation.
    """
    peer = parse_spiffe(spiffe_uri)
    if peer.federation != ca.federation:
        raise CertificateForeign(peer=peer.uri)
    public = _requested_key(csr)
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if dns else [])
    names = [x509.UniformResourceIdentifier(peer.uri), *(_host(name) for name in dns)]
    builder = (
        _builder(
            _name(f"{peer.role} {peer.name}"[:64]),
            ca.certificate.subject,
            public,
            days,
            no_later_than=ca.certificate.not_valid_after_utc,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()),
            critical=False,
        )
    )
    return builder.sign(ca.key, hashes.SHA384()).public_bytes(Encoding.PEM) + ca.chain_pem


def check_certificate(certificate_pem: bytes, root_pem: bytes, *, now: datetime | None = None) -> Peer:
    """Who a leaf certificate names, after checking that it is of `root_pem` and valid at `now`.

    One intermediate may follow it in the PEM.

    Raises `CertificateForeign` when it is not a leaf of this root, `CertificateExpired`, and `ClockWrong` when it is
    not valid yet: for its issuer it was later. The store checks revocation, by `serial_of`.
    """
    now = now or datetime.now(UTC)
    try:
        root = x509.load_pem_x509_certificate(root_pem)
        leaf, *between = x509.load_pem_x509_certificates(certificate_pem)
        leaf.verify_directly_issued_by(_issuer(between, root))
        peer = parse_spiffe(_only_uri(leaf))
        is_ca = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, InvalidIdentifier, x509.ExtensionNotFound):
        raise CertificateForeign(peer="an unknown peer") from None
    if is_ca or peer.federation != _only_uri(root).removeprefix("spiffe://"):
        raise CertificateForeign(peer=peer.uri)
    if now < leaf.not_valid_before_utc:
        evidence = f"the certificate of {peer.uri} begins on {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        raise ClockWrong(says=f"{now:%Y-%m-%d %H:%M} UTC", evidence=evidence)
    if now >= min(certificate.not_valid_after_utc for certificate in (leaf, *between)):
        raise CertificateExpired(peer=peer.uri)
    return peer


def _issuer(between: Sequence[x509.Certificate], root: x509.Certificate) -> x509.Certificate:
    """Who must have issued a leaf: the root, or an intermediate of it; raises `ValueError`, `InvalidSignature`."""
    if not between:
        return root
    [intermediate] = between
    intermediate.verify_directly_issued_by(root)
    limits = intermediate.extensions.get_extension_for_class(x509.BasicConstraints).value
    if not limits.ca or _only_uri(intermediate) != _only_uri(root):
        raise ValueError("no intermediate of this root")
    return intermediate


def endorse(key: ec.EllipticCurvePrivateKey, data: bytes) -> str:
    """The signature over `data` by a certificate's key (ECDSA with SHA-256), in base64."""
    return base64.b64encode(key.sign(data, ec.ECDSA(hashes.SHA256()))).decode()


def check_endorsement(certificate_pem: bytes, data: bytes, signature: str, *, what: str) -> None:
    """Return when `signature` is that of the leaf's key over `data`; else raise `SignatureInvalid` naming `what`."""
    public = x509.load_pem_x509_certificate(certificate_pem).public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise SignatureInvalid("not a member's kind of key", what=what)
    try:
        public.verify(base64.b64decode(signature, validate=True), data, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError) as error:
        raise SignatureInvalid(what=what) from error


def renew_at(certificate_pem: bytes) -> datetime:
    """When to renew: two thirds of a certificate's life after its start (UTC)."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return start + (end - start) * 2 / 3


def serial_of(certificate_pem: bytes) -> str:
    """A certificate's serial number in lower-case hexadecimal: the store's name for it."""
    return f"{x509.load_pem_x509_certificate(certificate_pem).serial_number:x}"


def expires_at(certificate_pem: bytes) -> datetime:
    """When a certificate expires (UTC)."""
    return x509.load_pem_x509_certificate(certificate_pem).not_valid_after_utc


def fingerprint_of(certificate_pem: bytes) -> Sha256:
    """SHA-256 of the DER form, which two people can compare."""
    der = x509.load_pem_x509_certificate(certificate_pem).public_bytes(Encoding.DER)
    return Sha256(hashlib.sha256(der).hexdigest())


def _requested_key(csr: bytes) -> ec.EllipticCurvePublicKey:
    try:
        request = x509.load_pem_x509_csr(csr)
        public, signature_valid = request.public_key(), request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidArgument(name="The certificate request", problem="it cannot be read") from error
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise InvalidArgument(name="The certificate request", problem="its key is not on the curve P-256")
    if not signature_valid:
        raise InvalidArgument(name="The certificate request", problem="its signature is not its key's")
    return public


def _signs(builder: x509.CertificateBuilder, federation: str, *, path_length: int) -> x509.CertificateBuilder:
    """A certificate that signs others, with at most `path_length` intermediates below it."""
    names = [x509.UniformResourceIdentifier(f"spiffe://{federation}")]
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    days: int,
    *,
    no_later_than: datetime | None = None,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    ends = now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(min(ends, no_later_than or ends))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _only_uri(certificate: x509.Certificate) -> str:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:  # an X.509-SVID has exactly one
        raise ValueError("not one URI name")
    return uris[0]
