"""An observer sees what operators see, by a certificate with which nothing can be changed, whatever a page offers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.console.roles import ROLES, Role
from coordinator.console.served import make_console
from coordinator.operator.observer import ObserverHome
from coordinator.trust.interceptor import ROLES as RPCS
from shared.crypto.pki import Role as Member
from shared.errors.trust import RoleNotAllowed
from shared.member import member_channel
from shared.web.people import People
from tests.factories.centre_consoles import CentreConsole, console_of, observer_home
from tests.factories.consoles import PASSPHRASE, Browser
from tests.factories.federation import Federation, running_federation

OF_EVERY_MEMBER = {
    "/grpc.health.v1.Health/Check",
    "/ricord.v1.AuditService/GetProof",
    "/ricord.v1.MembershipService/GetMembership",
    "/ricord.v1.MembershipService/RenewCertificate",
}
READING = ("List", "Get", "Verify", "Count")


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        running.site("North Hospital")
        running.invite("South Hospital")
        yield running


@pytest.fixture
def observing(federation: Federation, tmp_path: Path) -> Iterator[CentreConsole]:
    with console_of(observer_home(federation, tmp_path.name.replace("_", "-")).folder) as console:
        yield console


def test_only_what_reads_is_open_to_observers() -> None:
    """Of the calls that are not every member's, none but lists and looks; each of these an operator has, too."""
    theirs = {method for method, roles in RPCS.items() if Member.OBSERVER in roles} - OF_EVERY_MEMBER
    assert theirs
    assert all(method.split("/")[-1].startswith(READING) for method in theirs)
    assert all(Member.COORDINATOR in RPCS[method] for method in theirs)


def test_every_other_call_is_refused(federation: Federation) -> None:
    """At the coordinator, before the call is looked at."""
    refused = [method for method, roles in RPCS.items() if Member.OBSERVER not in roles]
    for method in refused:
        with pytest.raises(RoleNotAllowed):
            called(observer_home(federation), method)
    assert len(refused) > len(RPCS) // 2


def called(home: ObserverHome, method: str) -> None:
    with member_channel(home.connecting()) as channel:
        channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)(b"", timeout=10)


def test_every_page_is_shown_and_no_form(observing: CentreConsole) -> None:
    """What a viewer of an operator's console sees, and nothing to press."""
    viewer = observing.person(Role.VIEWER)
    for path in ("/", "/agreements", "/submissions", "/cohorts", "/runs", "/audit"):
        assert viewer.open(path).count("<form") == 1  # to sign out


def test_a_page_that_offers_more_is_refused_by_the_certificate(observing: CentreConsole) -> None:
    """A person whom the console takes for an operator is refused there, by a sentence."""
    operator = observing.person(Role.OPERATOR)
    agreement = operator.open("/agreements").split("/agreements/A-")[1].split('"')[0]
    page = operator.open(f"/agreements/A-{agreement}")
    seen = page.split('name="seen" value="')[1].split('"')[0]
    assert operator.send(f"/agreements/A-{agreement}/suspend", seen=seen) == 403
    assert "may not" in operator.said.text


@pytest.mark.parametrize("role", Role)
def test_every_row_of_the_table_holds(federation: Federation, role: Role) -> None:
    """A page is refused to every role that its row does not name, and to nobody else; none fails."""
    with console_of(federation.home.folder) as console:
        browser = console.person(role)
        for row, allowed in ROLES.items():
            path = row.split()[1].replace("{agreement}", "A-000000000000")
            path = path.replace("{run}", "R-000000000000").replace("{table}", "R-000000000000")
            status = browser.get(path).status_code if row.startswith("GET") else browser.send(path)
            assert (status == 403) == (role not in allowed), row
            assert status != 500, row


def test_a_stranger_sees_nothing(federation: Federation) -> None:
    """Every page sends to the sign-in, and every form is refused."""
    with console_of(federation.home.folder) as console:
        browser = console.person(Role.OPERATOR)
        browser.open("/")
        browser.send("/sign-out")
        browser.open("/sign-in")
        for row in ROLES:
            path = row.split()[1].replace("{agreement}", "A-000000000000").replace("{run}", "R-1")
            if row.startswith("GET"):
                assert browser.get(path).headers["location"] == "/sign-in"
            else:
                assert browser.send(path, reason="x") == 401


def test_a_coordinator_that_is_away_is_a_sentence(tmp_path: Path) -> None:
    """Every page says where nobody answers, and the person stays signed in."""
    with running_federation(tmp_path) as federation:
        folder = federation.home.folder
    with console_of(folder) as console:
        browser = Browser(make_console(console.centre, console.store))
        link = f"/invitation/{People(console.store).invite('Ann', Role.VIEWER)}"
        browser.open(link)
        assert browser.send(link, passphrase=PASSPHRASE, again=PASSPHRASE) == 303
        for path in ("/", "/agreements", "/submissions", "/cohorts", "/runs", "/audit"):
            answer = browser.get(path)
            assert answer.status_code == 503
            assert "No coordinator answers at" in answer.text
