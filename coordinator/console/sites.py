"""Sites: how far each hospital has come and for how many days it is there, and one hospital in full."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from coordinator.console.centre import Asking, Centre
from coordinator.console.moments import moment_of
from coordinator.console.versions import versions_of
from coordinator.operator.answers import plain
from shared.agreement import State
from shared.agreement_steps import next_step
from shared.counts import counted
from shared.proto.ricord.v1 import agreement_pb2, site_pb2, submission_pb2
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from shared.proto.ricord.v1.site_pb2_grpc import SiteServiceStub
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.web.console import Page
from shared.web.visit import Answer, Shown, Visit

_CERTIFICATE_SOON = timedelta(days=7)


class Stage(NamedTuple):
    """A state of agreements, how many hospitals are in it, and since when that is which is in it longest."""

    state: str
    hospitals: int
    longest: str


class Hospital(NamedTuple):
    """A hospital as the list shows it."""

    agreement: str
    name: str
    site_id: str
    state: str
    days: int
    contact: str
    is_silent: bool
    next: str


class SitePages:
    """The pipeline, and one site."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    def pages(self) -> tuple[Page, ...]:
        """What is answered."""
        return (Page("GET", "/", self._list), Page("GET", "/sites/{agreement}", self._site))

    def _list(self, visit: Visit) -> Answer:
        with self._centre.asking(visit.person) as asking:
            sites = asking.all(SiteServiceStub(asking.channel).ListSites, site_pb2.ListSitesRequest()).sites
            stub = AgreementServiceStub(asking.channel)
            agreements = asking.all(stub.ListAgreements, agreement_pb2.ListAgreementsRequest(brief=True)).agreements
        hospitals = _hospitals(sites, {each.id: each for each in agreements})
        return Shown("sites.html", {"hospitals": hospitals, "stages": _stages(hospitals)})

    def _site(self, visit: Visit) -> Answer:
        with self._centre.asking(visit.person) as asking:
            request = agreement_pb2.GetAgreementRequest(reference=visit.values["agreement"])
            answer = asking.ask(AgreementServiceStub(asking.channel).GetAgreement, request)
            named = site_pb2.GetSiteRequest(reference=answer.agreement.site_name)
            site = asking.ask(SiteServiceStub(asking.channel).GetSite, named).site
            gaps, repeats = _faults(asking, site.site_id)
        state = plain(site)["state"]
        values = {
            "site": site,
            "state": state,
            "next": next_step(state),
            "since": _for_days(_days_since(answer.agreement.changed_at)),
            "enrolled_at": moment_of(site.enrolled_at),
            "contact": contact_of(site),
            "report": _report(site),
            "survey": _survey(site),
            "gaps": gaps,
            "repeats": repeats,
            "versions": versions_of(answer),
        }
        return Shown("site.html", values)


def contact_of(site: site_pb2.Site) -> str:
    """How long ago the site's node reported; empty before it is enrolled."""
    if not site.HasField("contact"):
        return "never" if site.HasField("enrolled_at") else ""
    minutes = site.contact.age_seconds // 60
    if minutes < 120:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days ago"


def _hospitals(sites: Sequence[site_pb2.Site], agreements: dict[str, agreement_pb2.Agreement]) -> list[Hospital]:
    """Those that wait longest first, state by state in the order of the way."""
    order = [state.value for state in State]
    rows = list[Hospital]()
    for site in sites:
        state, contact = plain(site)["state"], contact_of(site)
        agreement = agreements.get(site.agreement_id)
        rows.append(
            Hospital(
                agreement=site.agreement_id,
                name=site.name,
                site_id=site.site_id,
                state=state,
                days=_days_since(agreement.changed_at) if agreement else 0,
                contact=contact,
                is_silent=site.contact.silent or contact == "never",
                next=next_step(state),
            )
        )
    return sorted(rows, key=lambda row: (order.index(row.state), -row.days, row.name))


def _stages(hospitals: Sequence[Hospital]) -> list[Stage]:
    stages = []
    for state in State:
        days = [each.days for each in hospitals if each.state == state]
        stages.append(Stage(state.value, len(days), _for_days(max(days, default=0))))
    return stages


def _days_since(moment: Timestamp) -> int:
    return max((datetime.now(UTC) - moment.ToDatetime(tzinfo=UTC)).days, 0)


def _for_days(days: int) -> str:
    return f"for {counted(days, 'day')}" if days else "since today"


def _faults(
    asking: Asking, site_id: str
) -> tuple[Sequence[submission_pb2.SequenceGap], Sequence[submission_pb2.SequenceRepeat]]:
    """Sequence numbers of the site that did not arrive, and those that came more than once."""
    if not site_id:
        return (), ()
    request = submission_pb2.ListSequenceFaultsRequest(site_id=site_id)
    answer = asking.all(SubmissionServiceStub(asking.channel).ListSequenceFaults, request)
    return answer.gaps, answer.repeats


def _report(site: site_pb2.Site) -> dict[str, Any]:
    """The latest report of the site's node; empty before the first."""
    if not site.HasField("contact"):
        return {}
    presence = site.contact.presence
    ends_at = moment_of(presence.certificate_ends_at)
    return {
        **plain(presence),
        "at": moment_of(site.contact.at),
        "certificate_ends_at": ends_at,
        "ends_soon": ends_at is not None and ends_at - datetime.now(UTC) < _CERTIFICATE_SOON,
    }


def _survey(site: site_pb2.Site) -> dict[str, Any]:
    """The hospital's answer to the open call; empty where there is none."""
    if not site.HasField("survey"):
        return {}
    return {name.replace("_", " "): value for name, value in plain(site.survey).items() if name != "site_name"}
