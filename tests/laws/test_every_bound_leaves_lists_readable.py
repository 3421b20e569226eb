"""Whatever a caller sends, at the bounds of each integer and text of each message: no defect, and lists stay readable.

Every RPC of every service is called once for each bound of each field, on both databases; the fields come from the
protocol's own definition, so that a new one is asked too. What a site signs is a message of its own: its manifests.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

import shared.proto.ricord.v1
from coordinator.curation.keys import load_curator_keys
from coordinator.curation.membership import CuratorHome, member_of
from coordinator.trust.interceptor import ROLES
from shared.crypto.keys import load_signing
from shared.crypto.pki import Role
from shared.crypto.signing import sign_manifest
from shared.errors.base import InternalError, RicordError
from shared.manifest import Manifest
from shared.proto.ricord.v1.agreement_pb2 import DraftAgreementRequest
from shared.proto.ricord.v1.membership_pb2 import RenewCertificateRequest
from shared.proto.ricord.v1.signed_pb2 import SignedDocument
from shared.proto.ricord.v1.site_pb2 import InviteSiteRequest, IssueJoinTokenRequest
from shared.signed import of_manifest
from shared.wire import Credentials, connected, from_rpc
from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from site_node.submit.client import UploadClient
from tests.factories.federation import Federation, running_federation, sealed_bytes

TEXTS = ("", "\0", "x" * 1001, "\U0010ffff" * 64, "9" * 400, "'; --", "\u202e\n\x1b[2J")
INTEGERS = (0, 1, -1, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**63))
BYTES = (b"", b"\0", b"\xff" * 1001, b"{}", b"[" * 2000)
USUAL: dict[str, Message] = {
    message.DESCRIPTOR.full_name: message
    for message in (
        InviteSiteRequest(site_name="Invited Hospital"),
        IssueJoinTokenRequest(role="researcher", name="researcher"),
        DraftAgreementRequest(
            site_name="Invited Hospital", curator="curator", modes=["submit"], scope="s", modalities=["CT"], licence="l"
        ),
        RenewCertificateRequest(csr=b"-", enrolment=SignedDocument(document=b"{}", signature="-")),
    )
}


def methods() -> list[MethodDescriptor]:
    """Every RPC of ours, the lists last."""
    names = [name for _, name, _ in iter_modules(shared.proto.ricord.v1.__path__) if name.endswith("_pb2")]
    files = [import_module(f"shared.proto.ricord.v1.{name}").DESCRIPTOR for name in names]
    rpcs = [method for file in files for service in file.services_by_name.values() for method in service.methods]
    return sorted(rpcs, key=lambda method: (is_list(method), method.full_name))


def is_list(method: MethodDescriptor) -> bool:
    return str(method.name).startswith("List")


def bounds(field: FieldDescriptor) -> tuple[Any, ...]:
    """Values of a field's type at and about its bounds."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return BYTES if field.type == FieldDescriptor.TYPE_BYTES else TEXTS
    return INTEGERS if field.cpp_type != FieldDescriptor.CPPTYPE_BOOL else (True,)


def variants(message: Message) -> Iterator[Message]:
    """`message`, and copies of it with one field, at any depth, at each of its bounds."""
    yield message
    fields: Any = message.DESCRIPTOR.fields  # of two implementations, which the stubs tell apart
    for field in fields:
        repeated = field.is_repeated
        if field.message_type is not None:
            inner = USUAL.get(field.message_type.full_name, GetMessageClass(field.message_type)())
            values: Iterator[Any] = variants(inner)
        else:
            values = iter(bounds(field))
        for value in values:
            copy = type(message)()
            copy.CopyFrom(message)
            copy.ClearField(field.name)
            try:
                if field.message_type is not None:
                    part = getattr(copy, field.name)
                    (part.add() if repeated else part).CopyFrom(value)
                elif repeated:
                    getattr(copy, field.name).extend([value, value])
                else:
                    setattr(copy, field.name, value)
            except ValueError:  # the field's type has no such number
                continue
            yield copy


class Callers:
    """Somebody of each role, and a stranger with no certificate, each at the end of a line of its own."""

    def __init__(self, federation: Federation, member: Membership, curator: CuratorHome, lines: ExitStack) -> None:
        home, self._addresses = federation.home, federation.identity.addresses
        credentials = {
            Role.COORDINATOR: Credentials(home.root.read_bytes(), home.operator_key, home.operator_certificate),
            Role.CURATOR: member_of(curator, load_curator_keys(curator.keys)).credentials,
            Role.SITE: member.credentials,
            Role.RESEARCHER: federation.researcher("rita").connecting().credentials,
        }
        self._lines = {
            role: lines.enter_context(connected(self._addresses.main, each)) for role, each in credentials.items()
        }
        stranger = Credentials(federation.identity.root)
        self._of_stranger = lines.enter_context(connected(self._addresses.enrolment, stranger))

    def ask(self, method: MethodDescriptor, requests: Sequence[Message]) -> Iterator[tuple[Message, Any]]:
        """Each request with its answer, or its error."""
        service = str(method.containing_service.full_name)
        path = f"/{service}/{method.name}"
        allowed = [line for role, line in self._lines.items() if role in ROLES.get(path, ())]
        address = self._addresses.main if allowed else self._addresses.enrolment
        for line in allowed or [self._of_stranger]:
            for request in requests:
                yield request, answer_of(line, method, path, request, address)


def answer_of(channel: grpc.Channel, method: MethodDescriptor, path: str, request: Message, address: str) -> Any:
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    call: Any = getattr(channel, kind)(
        path,
        request_serializer=lambda r: r.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    try:
        answer = call(iter([request]) if method.client_streaming else request, timeout=30)
        return list(answer) if method.server_streaming else answer
    except grpc.RpcError as error:
        return from_rpc(error, address)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("bounds"), database=database) as running:
        yield running


@pytest.fixture(scope="module")
def site(federation: Federation) -> tuple[SiteHome, Membership, CuratorHome]:
    curator = federation.curator()
    home, member = federation.site("Bounds Hospital")
    federation.invite("Invited Hospital")
    return home, member, curator


@pytest.fixture(scope="module")
def callers(federation: Federation, site: tuple[SiteHome, Membership, CuratorHome]) -> Iterator[Callers]:
    with ExitStack() as lines:
        yield Callers(federation, site[1], site[2], lines)


def check_lists(callers: Callers) -> None:
    """Every list is read, whole."""
    for method in filter(is_list, methods()):
        usual = GetMessageClass(method.input_type)()
        for _, answer in callers.ask(method, [usual]):
            assert isinstance(answer, Message), f"{method.name}: {answer}"


@pytest.mark.slow
def test_no_message_is_a_defect_or_hides_a_list(callers: Callers) -> None:
    """Of any RPC, from whoever may call it."""
    for method in methods():
        usual = USUAL.get(method.input_type.full_name, GetMessageClass(method.input_type)())
        for request, answer in callers.ask(method, list(variants(usual))):
            assert not isinstance(answer, InternalError), f"{method.full_name} {str(request)[:200]}: {answer.private}"
        check_lists(callers)


@pytest.mark.slow
def test_no_manifest_that_is_signed_hides_a_list(
    callers: Callers, site: tuple[SiteHome, Membership, CuratorHome]
) -> None:
    """Each field of it at its bounds, signed by the site and sent whole."""
    home, member, _ = site
    known = {"site_id", "agreement", "recipient"}
    with connected(member.addresses.main, member.credentials) as channel:
        client, usual, count = UploadClient(channel, member.addresses.main), sealed_bytes(home, member, 9), 0
        for name in set(Manifest.model_fields) - known:
            value = getattr(usual.manifest.manifest, name)
            for bound in INTEGERS if isinstance(value, int) else TEXTS:
                sealed = sealed_bytes(home, member, 9)
                problem, changed = "", {name: (bound,) if isinstance(value, tuple) else bound}
                signed = sign_manifest(
                    sealed.manifest.manifest.model_copy(update=changed), load_signing(home.signing_key)
                )
                try:
                    client.upload(of_manifest(signed), sealed.ciphertext, 0)
                    count += 1
                except RicordError as error:
                    problem = f"{name} {str(bound)[:40]}: {error.private}" * isinstance(error, InternalError)
                assert not problem
        assert count >= len(INTEGERS)
    check_lists(callers)
