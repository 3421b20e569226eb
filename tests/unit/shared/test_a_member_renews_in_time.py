"""A member's certificate is renewed once two thirds of its life are over, and a clock that differs is said so."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from shared import member as module
from shared.crypto import pki
from shared.crypto.keys import load_tls, make_tls
from shared.crypto.signing import SigningKey
from shared.enrolment import Enrolment
from shared.errors.base import RicordError
from shared.errors.inputs import InvalidArgument
from shared.errors.transport import CoordinatorUnreachable
from shared.errors.trust import CertificateExpired, CertificateForeign, ClockWrong, SignatureInvalid
from shared.ids import Sha256
from shared.member import DATE, Member, check_clock, clock_blamed, member_channel, renew_if_due
from shared.signed import Signed
from shared.token import Addresses

URI = "spiffe://sample/site/123456"
OWN = SigningKey.generate()
DIGEST = Sha256("0" * 64)
UNREACHABLE = CoordinatorUnreachable(address="here:1")


@dataclass
class Centre:
    """A coordinator without sockets: what it issues, and the addresses that were asked."""

    issue: Callable[[bytes], bytes]
    asked: list[str]

    def renew(self, request: Any, *, timeout: float) -> SimpleNamespace:
        """The answer to a renewal."""
        assert timeout > 0
        return SimpleNamespace(certificate=self.issue(request.csr))

    @contextmanager
    def connected(self, address: str, *_: object, **__: object) -> Iterator[str]:
        """In place of a channel."""
        self.asked.append(address)
        yield address


class Home:
    """A member of a federation, and whatever was asked of its coordinator."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = pki.make_ca("sample")
        (folder / "root.pem").write_bytes(self.root.certificate_pem)
        make_tls(folder / "tls.pem")
        csr = pki.make_csr(load_tls(folder / "tls.pem", None))
        (folder / "certificate.pem").write_bytes(pki.issue(self.root, csr, URI))
        self.member = Member(
            addresses=Addresses(enrolment="here:1", main="here:2"),
            root=folder / "root.pem",
            key=folder / "tls.pem",
            certificate=folder / "certificate.pem",
            uri=URI,
            sign=lambda csr: Signed.by(OWN, Enrolment(csr_sha256=DIGEST, token_sha256=None)),
        )
        self.centre = Centre(lambda csr: pki.issue(self.root, csr, URI), [])
        self.due = pki.renew_at(self.certificate)
        patch.setattr(module, "connected", self.centre.connected)
        patch.setattr(module, "MembershipServiceStub", lambda _: SimpleNamespace(RenewCertificate=self.centre.renew))

    @property
    def certificate(self) -> bytes:
        """As it lies in the home."""
        return self.member.certificate.read_bytes()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    return Home(tmp_path, monkeypatch)


def test_a_certificate_is_renewed_once_it_is_due(home: Home) -> None:
    """Not a moment before; then by the main port, and the new one takes its place."""
    before = home.certificate
    assert not renew_if_due(home.member, home.due - timedelta(seconds=1))
    assert (home.certificate, home.centre.asked) == (before, [])
    assert renew_if_due(home.member, home.due)
    assert home.centre.asked == ["here:2"]
    assert home.certificate != before
    assert pki.check_certificate(home.certificate, home.root.root_pem).uri == URI


@pytest.mark.parametrize("issuer", ["the federation", "another"])
def test_a_certificate_for_somebody_else_replaces_nothing(home: Home, issuer: str) -> None:
    """Of another member, or of another federation's root."""
    ca, uri = (home.root, "spiffe://sample/site/654321") if issuer == "the federation" else (pki.make_ca("sample"), URI)
    home.centre.issue, before = lambda csr: pki.issue(ca, csr, uri), home.certificate
    with pytest.raises(CertificateForeign):
        renew_if_due(home.member, home.due)
    assert home.certificate == before


@pytest.mark.parametrize("error", [CoordinatorUnreachable(address="here:2"), SignatureInvalid(what="it")])
def test_a_renewal_that_fails_stops_no_call(home: Home, monkeypatch: pytest.MonkeyPatch, error: RicordError) -> None:
    """A third of the certificate's life remains; the channel is opened with the one that there is."""

    def fail(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(module, "renew_if_due", fail)
    with member_channel(home.member) as channel:
        assert channel == "here:2"  # type: ignore[comparison-overlap]  # of the centre without sockets


def asking(home: Home, monkeypatch: pytest.MonkeyPatch, says: Callable[[], datetime | None]) -> None:
    monkeypatch.setattr(module, "check_clock", lambda _: says())


def test_a_coordinator_that_cannot_say_leaves_the_error_as_it_was(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a time nor an answer changes what went wrong; the enrolment port is asked, which needs no certificate."""

    def fail() -> NoReturn:
        raise UNREACHABLE

    def now() -> datetime:
        return datetime.now(UTC)

    for says in (fail, now, lambda: None):
        home.centre.asked.clear()
        asking(home, monkeypatch, says)
        with pytest.raises(CoordinatorUnreachable) as raised, clock_blamed(home.member):
            raise UNREACHABLE
        assert raised.value is UNREACHABLE
        assert home.centre.asked == ["here:1"]


def test_a_clock_that_differs_is_the_cause(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a certificate that only seems to be over; one that is over by the coordinator's time is said so."""
    wrong = ClockWrong(says="noon", evidence="it is midnight")

    def differ() -> NoReturn:
        raise wrong

    for error in (UNREACHABLE, CertificateExpired(peer=URI)):
        asking(home, monkeypatch, differ)
        with pytest.raises(ClockWrong), clock_blamed(home.member):
            raise error
    asking(home, monkeypatch, lambda: pki.expires_at(home.certificate))
    with pytest.raises(CertificateExpired), clock_blamed(home.member):
        raise UNREACHABLE


def test_other_errors_ask_nobody(home: Home) -> None:
    """And where nothing went wrong, nobody is asked either."""
    with clock_blamed(home.member):
        pass
    with pytest.raises(SignatureInvalid), clock_blamed(home.member):
        raise SignatureInvalid(what="it")
    assert home.centre.asked == []


@pytest.mark.parametrize("says", [None, timedelta(), pki.SKEW * 0.9, pki.SKEW * 1.1, pki.SKEW * -0.9, pki.SKEW * -1.1])
def test_a_clock_may_differ_by_what_certificates_allow(monkeypatch: pytest.MonkeyPatch, says: timedelta | None) -> None:
    """In either direction; a coordinator that states no time is believed."""
    theirs = None if says is None else datetime.now(UTC) + says
    trailing = [("other", "x"), *([(DATE, theirs.isoformat())] if theirs else [])]
    call = SimpleNamespace(trailing_metadata=lambda: trailing)
    stub = SimpleNamespace(Check=SimpleNamespace(with_call=lambda *_, **__: (None, call)))
    monkeypatch.setattr(module, "HealthStub", lambda _: stub)
    channel: Any = None
    if says is not None and abs(says) > pki.SKEW:
        with pytest.raises(ClockWrong):
            check_clock(channel)
    else:
        assert check_clock(channel) == theirs
    trailing[-1:] = [(DATE, "soon")]
    with pytest.raises(InvalidArgument):
        check_clock(channel)


def test_what_a_channel_trusts_and_shows_is_read_from_the_home(home: Home) -> None:
    """The federation's root, and the member's key and certificate."""
    shown = home.member.credentials
    assert shown.root == home.root.root_pem
    assert (shown.key, shown.certificate) == (home.member.key, home.member.certificate)
    shown.check()
    with pytest.raises(CertificateForeign):
        replace(shown, root=pki.make_ca("sample").root_pem).check()


def test_a_channel_renews_first(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due when it is opened."""
    before = home.certificate
    monkeypatch.setattr("shared.member.pki.renew_at", lambda _: datetime(2000, 1, 1, tzinfo=UTC))
    with member_channel(home.member):
        assert home.certificate != before


def test_a_member_shows_its_key_and_certificate_and_anybody_the_root_only(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One without the other is shown to nobody."""
    shown = list[tuple[object, ...]]()
    monkeypatch.setattr(
        "shared.wire.grpc.ssl_channel_credentials",
        lambda root_certificates, *own: shown.append((root_certificates, *own)),
    )
    whole = home.member.credentials
    whole.to_grpc()
    for part in (
        replace(whole, key=None),
        replace(whole, certificate=None),
        replace(whole, key=None, certificate=None),
    ):
        part.to_grpc()
    root = home.root.root_pem
    assert shown == [(root, home.member.key.read_bytes(), home.certificate), (root,), (root,), (root,)]
