"""Every RPC of the main port has a row in the table of roles, and every row an RPC."""

from importlib import import_module
from pkgutil import iter_modules

import pytest
from grpc_health.v1 import health_pb2

import shared.proto.ricord.v1
from coordinator.peer import ROLES
from shared.crypto.pki import Role

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
    """A method without a row is refused to everyone; a row without a method is a slip of the pen."""
    assert methods() == set(ROLES)


@pytest.mark.parametrize("method", sorted(ROLES))
def test_each_method_is_for_somebody(method: str) -> None:
    """No row is empty, and only health is for everyone."""
    assert ROLES[method]
    assert (ROLES[method] == frozenset(Role)) == ("Health" in method)


def test_ciphertext_goes_to_curators_only() -> None:
    """The coordinators cannot fetch what they hold; only sites put in."""
    assert ROLES["/ricord.v1.SubmissionService/Fetch"] == {Role.CURATOR}
    assert ROLES["/ricord.v1.SubmissionService/Upload"] == {Role.SITE}
