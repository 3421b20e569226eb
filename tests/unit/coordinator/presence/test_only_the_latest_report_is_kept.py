"""The coordinator keeps each site's latest report, and says how long ago that was."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from coordinator.commands.site import _contact
from shared.errors.inputs import InvalidArgument
from shared.errors.trust import RoleNotAllowed
from shared.proto.ricord.v1 import site_pb2
from shared.proto.ricord.v1.presence_pb2 import Presence, ReportPresenceRequest
from shared.proto.ricord.v1.presence_pb2_grpc import PresenceServiceStub
from shared.proto.ricord.v1.site_pb2_grpc import SiteServiceStub
from shared.wire import connected, to_timestamp
from site_node.membership.record import Membership
from tests.factories.federation import Federation, running_federation

ENDS = datetime(2027, 1, 31, tzinfo=UTC)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


@pytest.fixture(scope="module")
def member(federation: Federation) -> Membership:
    federation.site("Quiet Hospital")
    return federation.site("Present Hospital")[1]


def make_presence(received: int, **changes: object) -> Presence:
    values = {
        "version": "0.1.0",
        "received": received,
        "free_bytes": 1 << 40,
        "certificate_ends_at": to_timestamp(ENDS),
    }
    return Presence(**{**values, **changes})  # type: ignore[arg-type] # of a message's fields


def report(member: Membership, presence: Presence) -> None:
    with connected(member.addresses.main, member.credentials) as channel:
        PresenceServiceStub(channel).ReportPresence(ReportPresenceRequest(presence=presence))


def sites(federation: Federation) -> dict[str, site_pb2.Site]:
    with federation.operator() as channel:
        listed = SiteServiceStub(channel).ListSites(site_pb2.ListSitesRequest()).sites
        shown = SiteServiceStub(channel).GetSite(site_pb2.GetSiteRequest(reference="Present")).site
    sites = {site.name: site for site in listed}
    assert shown.contact.presence == sites[shown.name].contact.presence
    return sites


def test_the_latest_report_stands_beside_its_site(federation: Federation, member: Membership) -> None:
    """In place of the one before, of that site only, and the audit has none of them."""
    with federation.reading() as reading:
        events = len(reading.events())
    for number in (1, 2):
        report(member, make_presence(number))
    listed = sites(federation)
    assert listed["Present Hospital"].contact.presence == make_presence(2)
    assert not listed["Quiet Hospital"].HasField("contact")
    with federation.reading() as reading:
        assert len(reading.events()) == events


def test_silence_over_an_hour_is_marked(federation: Federation, member: Membership) -> None:
    """By the coordinator's own clock; one that went back makes no report younger than now."""
    report(member, make_presence(3))
    seen = []
    for ahead in (timedelta(), timedelta(minutes=59), timedelta(minutes=61), timedelta(days=20), -timedelta(days=1)):
        federation.time.ahead = ahead
        seen.append(sites(federation)["Present Hospital"])
    federation.time.ahead = timedelta()
    assert [site.contact.silent for site in seen] == [False, False, True, True, False]
    words = ["0 minutes ago", "59 minutes ago", "silent for 61 minutes", "silent for 20 days", "0 minutes ago"]
    assert [_contact(site) for site in seen] == words
    assert _contact(sites(federation)["Quiet Hospital"]) == "never"


@pytest.mark.parametrize(
    "changes", [{"queued": 2**63}, {"free_bytes": 2**64 - 1}, {"version": "\x1b[2J"}, {"version": "1" * 41}], ids=str
)
def test_a_report_out_of_bounds_is_refused_and_changes_nothing(
    federation: Federation, member: Membership, changes: dict[str, object]
) -> None:
    """Neither a number that no column holds nor a version that is not one reaches a list."""
    report(member, make_presence(4))
    with pytest.raises(InvalidArgument):
        report(member, make_presence(5, **changes))
    assert sites(federation)["Present Hospital"].contact.presence == make_presence(4)


def test_only_sites_report(federation: Federation) -> None:
    """An operator has no node."""
    with pytest.raises(RoleNotAllowed), federation.operator() as channel:
        PresenceServiceStub(channel).ReportPresence(ReportPresenceRequest(presence=make_presence(1)))
