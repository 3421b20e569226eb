"""Before every call: one name in the certificate, that very certificate still good, and a role that may call it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from coordinator.home.identity import Identity
from coordinator.home.init import create_federation
from coordinator.home.settings import Home
from coordinator.store.records import Certificate
from coordinator.store.sql import SqlStore, open_store
from coordinator.trust import tokens
from coordinator.trust.certificates import check_certificate_row, is_member_now
from coordinator.trust.interceptor import (
    ROLES,
    UNSERVED,
    AccessInterceptor,
    Guarded,
    access_check,
    asker_of,
    caller_of,
    no_check,
    peer_of,
    without_thread,
)
from coordinator.trust.refusals import STRANGER
from shared.agreement import State
from shared.crypto.keys import make_tls
from shared.crypto.pki import Role, issue, make_ca, make_csr, serial_of
from shared.errors.agreements import AgreementTerminated
from shared.errors.base import RicordError
from shared.errors.transport import UploadInterrupted
from shared.errors.trust import (
    CertificateExpired,
    CertificateForeign,
    RoleNotAllowed,
    TokenExpired,
    TokenInvalid,
    TokenUsed,
)
from shared.signed import Signed
from shared.token import TokenKind
from tests.factories.federation import make_settings, settings_text
from tests.factories.rows import make_agreement, make_site

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
METHOD = "/ricord.v1.SubmissionService/Upload"
SITE_ID = make_site().site_id or ""


class Refused(Exception):
    """What gRPC raises when a call is aborted."""


class Call:
    """A call whose caller presents a certificate with these names; a status ends it."""

    def __init__(self, names: list[str], certificate: bytes = b"") -> None:
        self.status: Any = None
        self._properties = {
            "x509_subject_alternative_name": [name.encode() for name in names],
            "x509_pem_cert": [certificate],
        }

    def auth_context(self) -> dict[str, list[bytes]]:
        return self._properties

    def abort_with_status(self, status: Any) -> None:
        self.status = status
        raise Refused


def uri(role: Role, name: str) -> str:
    return f"spiffe://test-federation/{role}/{name}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    key = make_tls(tmp_path_factory.mktemp("tls") / "tls.pem")
    return issue(make_ca("test-federation"), make_csr(key), uri(Role.SITE, SITE_ID))


def test_a_caller_is_who_its_certificate_names_once() -> None:
    """Other kinds of names beside it say nothing; none or two of ours is nobody."""
    name = uri(Role.SITE, SITE_ID)
    for names in ([name], ["hospital.example", name]):
        call: Any = Call(names)
        assert (peer_of(call).role, peer_of(call).name, caller_of(call)) == (Role.SITE, SITE_ID, name)
    for names in ([], ["hospital.example"], [name, name], [name, uri(Role.CURATOR, "carla")], ["spiffe://x/site"]):
        call = Call(names)
        with pytest.raises(CertificateForeign):
            peer_of(call)
        assert caller_of(call) == STRANGER


@pytest.mark.parametrize("role", list(Role))
def test_each_role_calls_its_methods_and_no_other(store: SqlStore, certificate: bytes, role: Role) -> None:
    """A method that is not in the table is refused to everyone."""
    name = SITE_ID if role is Role.SITE else "carla"
    row = Certificate(serial=serial_of(certificate), role=role, name=name, ends_at=NOW + TICK)
    with store.begin() as work:
        work.add_certificate(row)
    check, call = access_check(store, lambda: NOW), Call([uri(role, name)], certificate)
    for method in (*ROLES, "/ricord.v1.SubmissionService/Erase"):
        if role in ROLES.get(method, ()):
            check(method, call)  # type: ignore[arg-type] # of a context the check reads this
        else:
            with pytest.raises(RoleNotAllowed):
                check(method, call)  # type: ignore[arg-type] # likewise


def test_a_certificate_is_good_for_whom_it_was_issued_to_until_it_ends(store: SqlStore) -> None:
    """Not for another name or role, not at its last moment, not once it was revoked, and never if it is not known."""
    row = Certificate(serial="0a", role=Role.SITE, name=SITE_ID, ends_at=NOW)
    with store.begin() as work:
        work.add_certificate(row)

        def check(serial: str = "0a", role: Role = Role.SITE, name: str = SITE_ID, now: datetime = NOW - TICK) -> None:
            check_certificate_row(work, serial, role=role, name=name, now=now)

        check()
        assert is_member_now(work, Role.SITE, SITE_ID, NOW - TICK)
        for stranger in ({"serial": "0b"}, {"role": Role.CURATOR}, {"name": "654321"}):
            with pytest.raises(CertificateForeign):
                check(**stranger)
        with pytest.raises(CertificateExpired):
            check(now=NOW)
        assert not is_member_now(work, Role.SITE, SITE_ID, NOW)
        assert not is_member_now(work, Role.SITE, "654321", NOW - TICK)
        work.revoke(Role.SITE, SITE_ID, NOW - 2 * TICK)
        with pytest.raises(CertificateForeign):
            check()
        assert not is_member_now(work, Role.SITE, SITE_ID, NOW - TICK)


def test_a_site_hears_that_its_agreement_was_terminated(store: SqlStore) -> None:
    """Its certificate was revoked with it; a person's, or one that was revoked by itself, is foreign."""
    agreement = make_agreement(Signed(document="{}", signature="c2ln"))
    rows = [(Role.SITE, SITE_ID, "0a"), (Role.CURATOR, "carla", "0b"), (Role.CURATOR, SITE_ID, "0c")]
    with store.begin() as work:
        for role, name, serial in rows:
            work.add_certificate(Certificate(serial=serial, role=role, name=name, ends_at=NOW + TICK))
            work.revoke(role, name, NOW)
        for state, error in ((State.EXECUTED, CertificateForeign), (State.TERMINATED, AgreementTerminated)):
            work.put_agreement(agreement.model_copy(update={"state": state}))
            work.put_site(make_site())
            for role, name, serial in rows:
                with pytest.raises(error if role is Role.SITE else CertificateForeign):
                    check_certificate_row(work, serial, role=role, name=name, now=NOW)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    settings = make_settings(invitation_days=30, join_days=3)
    return create_federation(Home(tmp_path_factory.mktemp("tokens") / "home"), settings, settings_text(settings))


@pytest.mark.parametrize(("kind", "days"), [(TokenKind.INVITATION, 30), (TokenKind.JOIN, 3)])
def test_a_token_is_good_once_for_its_kind_and_days(
    store: SqlStore, identity: Identity, kind: TokenKind, days: int
) -> None:
    """To the last moment; of two uses at the same moment one is refused."""
    with store.begin() as work:
        token, ends = tokens.issue(work, identity, kind=kind, role=Role.SITE, subject="Hospital", now=NOW)
        assert ends == NOW + timedelta(days=days)
        other = TokenKind.JOIN if kind is TokenKind.INVITATION else TokenKind.INVITATION
        for error, secret, asked, now in (
            (TokenInvalid, token.secret, other, NOW),
            (TokenInvalid, "another", kind, NOW),
            (TokenExpired, token.secret, kind, ends),
        ):
            with pytest.raises(error):
                tokens.use(work, secret, kind=asked, now=now)
        row = tokens.use(work, token.secret, kind=kind, now=ends - TICK)
        assert (row.subject, row.role) == ("Hospital", Role.SITE)
        for again in (tokens.check, tokens.use):
            with pytest.raises(TokenUsed):
                again(work, token.secret, kind=kind, now=NOW)


def test_a_token_that_another_used_meanwhile_is_used(
    store: SqlStore, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row was read before the other's transaction ended."""
    with store.begin() as work:
        token, _ = tokens.issue(work, identity, kind=TokenKind.JOIN, role=Role.SITE, subject="Hospital", now=NOW)
        monkeypatch.setattr(type(work), "use_token", lambda *_: False)
        with pytest.raises(TokenUsed):
            tokens.use(work, token.secret, kind=TokenKind.JOIN, now=NOW)


class Broken(grpc.RpcError):
    """What gRPC raises where the caller went away."""


@pytest.mark.parametrize("answers_stream", [False, True])
def test_nothing_is_done_before_the_check_and_each_refusal_is_noted(answers_stream: bool) -> None:
    """A behaviour runs only after its check; whatever either raises ends the call with a status."""
    done, noted = list[str](), list[tuple[str, str, str]]()

    def behaviour(request: str, context: Any) -> Any:
        done.append(request)
        if request == "gone":
            raise Broken
        return iter([request]) if answers_stream else request

    def check(method: str, context: Any) -> None:
        if not context.auth_context()["x509_subject_alternative_name"]:
            raise CertificateForeign(peer="nobody")

    def note(caller: str, method: str, error: RicordError) -> None:
        noted.append((caller, method, error.code))

    guarded = Guarded(METHOD, check, behaviour, reads_stream=False, answers_stream=answers_stream, note=note)

    def answer(request: str, call: Call) -> Any:
        given = guarded(request, call)  # type: ignore[arg-type] # of a context the guard needs this
        return list(given) if answers_stream else [given]

    name = uri(Role.SITE, SITE_ID)
    assert answer("a", Call([name])) == ["a"]
    for call, request in ((Call([]), "b"), (Call([name]), "gone")):
        with pytest.raises(Refused):
            answer(request, call)
        assert call.status is not None
    assert done == ["a", "gone"]
    assert noted == [
        (STRANGER, METHOD, CertificateForeign(peer="").code),
        (name, METHOD, UploadInterrupted().code),
    ]
    assert not guarded.waits


def test_a_call_that_waits_is_checked_before_it_opens() -> None:
    """As any other; its behaviour gets the outlet."""
    opened = list[tuple[Any, ...]]()

    @without_thread
    def behaviour(*arguments: Any) -> None:
        opened.append(arguments)

    def refusing(method: str, context: Any) -> None:
        raise CertificateForeign(peer="nobody")

    call, outlet = Call([]), object()
    for check in (refusing, no_check):
        guarded = Guarded(METHOD, check, behaviour, reads_stream=False, answers_stream=True)
        assert guarded.waits
        if check is refusing:
            with pytest.raises(Refused):
                guarded.open("request", call, outlet)  # type: ignore[arg-type] # they are passed on
            assert not opened
        else:
            guarded.open("request", call, outlet)  # type: ignore[arg-type] # likewise
    assert opened == [("request", call, outlet)]


@pytest.mark.parametrize("reads_stream", [False, True])
@pytest.mark.parametrize("answers_stream", [False, True])
def test_every_method_is_guarded(reads_stream: bool, answers_stream: bool) -> None:
    """Of each of the four kinds; one that is not served, or not there, is none."""
    kind = f"{'stream' if reads_stream else 'unary'}_{'stream' if answers_stream else 'unary'}"
    handler = getattr(grpc, f"{kind}_rpc_method_handler")(lambda *_: None)
    interceptor = AccessInterceptor(no_check)

    class Details:
        method = METHOD

    guarded: Any = interceptor.intercept_service(lambda _: handler, Details())  # type: ignore[arg-type] # it has a method
    assert (guarded.request_streaming, guarded.response_streaming) == (reads_stream, answers_stream)
    behaviour = getattr(guarded, kind)
    assert isinstance(behaviour, Guarded)
    assert (behaviour.reads_stream, behaviour.answers_stream) == (reads_stream, answers_stream)
    assert interceptor.intercept_service(lambda _: None, Details()) is None  # type: ignore[arg-type] # likewise
    Details.method = next(iter(UNSERVED))
    assert interceptor.intercept_service(lambda _: handler, Details()) is None  # type: ignore[arg-type] # likewise


def test_a_stream_that_fails_in_its_midst_ends_with_a_status() -> None:
    """What was answered before has left; what raised is noted, as of any other call."""
    noted = list[str]()

    def behaviour(request: str, context: Any) -> Iterator[str]:
        yield request
        raise CertificateExpired(peer="nobody")

    guarded = Guarded(
        METHOD, no_check, behaviour, reads_stream=False, answers_stream=True,
        note=lambda caller, method, error: noted.append(error.code),
    )  # fmt: skip
    call: Any = Call([uri(Role.SITE, SITE_ID)])
    answers = guarded("a", call)
    assert next(answers) == "a"
    with pytest.raises(Refused):
        next(answers)
    assert call.status is not None
    assert noted == [CertificateExpired(peer="").code]


def test_everybody_but_an_operator_asks_for_what_is_their_own() -> None:
    """By role and name, so that a person of one role is not one of another."""
    everybody = {Role.COORDINATOR: None, Role.OBSERVER: None}
    for role, asker in (everybody | {Role.CURATOR: "curator/x", Role.RESEARCHER: "researcher/x"}).items():
        call: Any = Call([uri(role, "x")])
        assert asker_of(call) == asker
