"""Every RPC of the main port has a row in the table of roles, and every row an RPC."""

import errno
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest
from grpc_health.v1 import health_pb2
from structlog.testing import capture_logs

import shared.proto.ricord.v1
from coordinator.store.records import Certificate
from coordinator.store.sql import open_store
from coordinator.trust.interceptor import ROLES, UNSERVED, _public_error, access_check
from shared.crypto.keys import make_tls
from shared.crypto.pki import Role, expires_at, issue, make_ca, make_csr, serial_of
from shared.errors.base import InternalError
from shared.errors.storage import DiskFull
from shared.errors.trust import CertificateExpired

ENROLMENT_ONLY = "ricord.v1.EnrolmentService"


def methods() -> set[str]:
    """`/package.Service/Method` of every service but the enrolment port's own."""
    names = [name for _, name, _ in iter_modules(shared.proto.ricord.v1.__path__) if name.endswith("_pb2")]
    files = [import_module(f"shared.proto.ricord.v1.{name}").DESCRIPTOR for name in names]
    services = [service for file in [*files, health_pb2.DESCRIPTOR] for service in file.services_by_name.values()]
    return {
        f"/{service.full_name}/{method.name}"
        for service in services
        if service.full_name != ENROLMENT_ONLY
        for method in service.methods
    }


def test_the_table_is_complete() -> None:
    """A method without a row is refused to everyone; a row without a method is a mistake."""
    assert methods() - UNSERVED == set(ROLES)


@pytest.mark.parametrize("method", sorted(ROLES))
def test_each_method_is_for_somebody(method: str) -> None:
    """No row is empty, and only health is for everyone."""
    assert ROLES[method]
    assert (ROLES[method] == frozenset(Role)) == ("Health" in method)


def test_ciphertext_goes_to_curators_only() -> None:
    """The coordinators cannot fetch what they store; only sites upload."""
    assert ROLES["/ricord.v1.SubmissionService/Fetch"] == {Role.CURATOR}
    assert ROLES["/ricord.v1.SubmissionService/Upload"] == {Role.SITE}


def test_a_site_is_looked_up_by_the_coordinators_only() -> None:
    """A curator learns of the agreements under which sites seal to it, and of no site's name or keys."""
    assert ROLES["/ricord.v1.SiteService/GetSite"] == {Role.COORDINATOR, Role.OBSERVER}
    assert ROLES["/ricord.v1.AgreementService/ListSealedAgreements"] == {Role.CURATOR}


class CallWithCertificate:
    """A call whose caller presents a certificate."""

    def __init__(self, uri: str, certificate: bytes) -> None:
        self._properties = {"x509_subject_alternative_name": [uri.encode()], "x509_pem_cert": [certificate]}

    def auth_context(self) -> dict[str, list[bytes]]:
        """The properties that TLS sets."""
        return self._properties


def test_a_connection_does_not_outlive_its_certificate(tmp_path: Path) -> None:
    """TLS looks at the time once, when a connection is made; the access check looks at every call."""
    uri, ahead = "spiffe://test-federation/site/123456", timedelta()
    certificate = issue(make_ca("test-federation"), make_csr(make_tls(tmp_path / "tls.pem")), uri)
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    row = Certificate(serial=serial_of(certificate), role="site", name="123456", ends_at=expires_at(certificate))
    with store.begin() as work:
        work.add_certificate(row)
    call: Any = CallWithCertificate(uri, certificate)
    check = access_check(store, lambda: datetime.now(UTC) + ahead)
    check("/ricord.v1.SubmissionService/Upload", call)
    ahead = timedelta(days=400)
    with pytest.raises(CertificateExpired):
        check("/ricord.v1.SubmissionService/Upload", call)
    store.close()


def test_a_full_disk_is_no_defect() -> None:
    """Whatever meets it, the caller hears that there is no room, and no path; any other error is a defect."""
    full, broken = OSError(errno.ENOSPC, "x", "/secret"), OSError(errno.EIO, "x", "/secret")
    answer = _public_error("/m", full)
    assert isinstance(answer, DiskFull)
    assert "/secret" not in answer.public
    assert isinstance(_public_error("/m", broken), InternalError)


def test_the_log_says_what_was_refused_and_where_a_defect_is() -> None:
    """The code and the private text of a refusal; of a defect its kind, and the line that raised it, but no value."""

    def defect() -> None:
        raise KeyError("Kelstrupova")

    with capture_logs() as logged:
        _public_error("/m", CertificateExpired("seen by nobody", peer="site/1"))
        _public_error("/m", OSError(errno.ENOSPC, "full"))
        try:
            defect()
        except KeyError as error:
            _public_error("/m", error)
    refused, full, broken = logged
    assert (refused["event"], refused["private"]) == ("refused", "seen by nobody")
    assert (refused["code"], refused["peer"]) == (CertificateExpired(peer="").code, "site/1")
    assert full["event"] == "disk-full"
    assert (broken["event"], broken["kind"]) == ("defect", "KeyError")
    assert broken["place"] == f"{__file__}:{defect.__code__.co_firstlineno + 1}"
    assert "Kelstrupova" not in str(broken)
