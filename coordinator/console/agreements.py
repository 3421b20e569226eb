"""Agreements: drafted, countersigned and suspended at a page, and how each version differs from the one before."""

from datetime import UTC, datetime, timedelta

from coordinator.console.centre import Centre
from coordinator.console.moments import moment_of
from coordinator.console.versions import versions_of
from coordinator.operator import drafts
from coordinator.operator.answers import plain
from shared.agreement import AgreementTerms, Mode
from shared.agreement_page import terms_page
from shared.agreement_steps import next_step
from shared.errors.console import ChangedMeanwhile
from shared.errors.inputs import InputError, InvalidArgument
from shared.proto.ricord.v1 import agreement_pb2 as pb
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from shared.web.console import Page
from shared.web.visit import Answer, Redirect, Shown, Visit

_FIELDS = ("curator", "scope", "modalities", "studies", "licence", "ethics_reference", "expires")
_AMENDED = frozenset({"executed", "suspended", "terminated", "expired"})


class AgreementPages:
    """The list, one agreement, and its decisions."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    def pages(self) -> tuple[Page, ...]:
        """What is answered."""
        return (
            Page("GET", "/agreements", self._list),
            Page("GET", "/agreements/{agreement}", self._page),
            Page("POST", "/agreements/{agreement}/draft", self._draft),
            Page("POST", "/agreements/{agreement}/execute", self._execute),
            Page("POST", "/agreements/{agreement}/suspend", self._suspend),
        )

    def _list(self, visit: Visit) -> Answer:
        with self._centre.asking(visit.person) as asking:
            stub = AgreementServiceStub(asking.channel)
            agreements = asking.all(stub.ListAgreements, pb.ListAgreementsRequest(brief=True)).agreements
        rows = [(plain(each), moment_of(each.changed_at)) for each in agreements]
        return Shown("agreements.html", {"rows": rows})

    def _page(self, visit: Visit) -> Answer:
        return Shown("agreement.html", _values(self._fetched(visit)))

    def _draft(self, visit: Visit) -> Answer:
        """Write the terms that the form says, or show it again as it was written, with what is wrong."""
        try:
            agreement = self._drafted(visit)
        except InputError as error:
            values = _values(self._fetched(visit))
            entered = {name: visit.form.optional(name) for name in _FIELDS} | {"modes": visit.form.texts("modes")}
            return Shown("agreement.html", {**values, "entered": entered, "problem": error.public}, 400)
        return Redirect(f"/agreements/{agreement.id}", "drafted")

    def _drafted(self, visit: Visit) -> pb.Agreement:
        agreement, form = self._checked(visit), visit.form
        text = agreement.amendment_terms or agreement.terms
        before = drafts.draft_of(AgreementTerms.model_validate_json(text)) if text else None
        request = drafts.fill(
            before or pb.DraftAgreementRequest(site_name=agreement.id),
            modes=",".join(form.texts("modes")),
            studies=_studies(form.optional("studies")),
            curator=form.text("curator"),
            scope=form.text("scope"),
            modalities=form.text("modalities"),
            licence=form.text("licence"),
            ethics_reference=form.optional("ethics_reference"),
            expires=_last_day(form.optional("expires")),
        )
        with self._centre.asking(visit.person) as asking:
            stub = AgreementServiceStub(asking.channel)
            if plain(agreement)["state"] in _AMENDED:
                asking.ask(stub.AmendAgreement, pb.AmendAgreementRequest(draft=request))
            else:
                asking.ask(stub.DraftAgreement, request)
        return agreement

    def _execute(self, visit: Visit) -> Answer:
        """Countersign what was shown. A join token stands on the answer alone, which no history keeps."""
        agreement = self._checked(visit)
        with self._centre.asking(visit.person) as asking:
            request = pb.ExecuteAgreementRequest(reference=agreement.id)
            executed = asking.ask(AgreementServiceStub(asking.channel).ExecuteAgreement, request)
        if not executed.token:
            return Redirect(f"/agreements/{agreement.id}", "executed")
        values = _values(self._fetched(visit))
        return Shown("agreement.html", {**values, "token": executed.token, "notice": "executed"})

    def _suspend(self, visit: Visit) -> Answer:
        agreement = self._checked(visit)
        with self._centre.asking(visit.person) as asking:
            request = pb.SuspendAgreementRequest(reference=agreement.id)
            asking.ask(AgreementServiceStub(asking.channel).SuspendAgreement, request)
        return Redirect(f"/agreements/{agreement.id}", "suspended")

    def _fetched(self, visit: Visit) -> pb.GetAgreementResponse:
        with self._centre.asking(visit.person) as asking:
            request = pb.GetAgreementRequest(reference=visit.values["agreement"])
            answer: pb.GetAgreementResponse = asking.ask(AgreementServiceStub(asking.channel).GetAgreement, request)
        return answer

    def _checked(self, visit: Visit) -> pb.Agreement:
        """The agreement, if it is still as it was shown; raises `ChangedMeanwhile`."""
        agreement = self._fetched(visit).agreement
        if visit.form.text("seen") != _seen(agreement):
            raise ChangedMeanwhile
        return agreement


def _values(answer: pb.GetAgreementResponse) -> dict[str, object]:
    """What the page shows of an agreement: the version that is offered, else the one in force."""
    agreement, state = answer.agreement, plain(answer.agreement)["state"]
    document = agreement.amendment_terms or agreement.terms
    terms = AgreementTerms.model_validate_json(document) if document else None
    return {
        "agreement": agreement,
        "state": state,
        "next": next_step(state),
        "changed_at": moment_of(agreement.changed_at),
        "seen": _seen(agreement),
        "terms": terms,
        "page": terms_page(terms) if terms else "",
        "entered": _entered(terms),
        "problem": "",
        "text": answer.text,
        "versions": versions_of(answer),
        "modes": [mode.value for mode in Mode],
        "is_amended": state in _AMENDED,
        "may_draft": state != "interested",
        "may_execute": state in {"signed", "suspended"} or agreement.HasField("amendment_consent"),
        "token": "",
    }


def _entered(terms: AgreementTerms | None) -> dict[str, object]:
    """What the form says before somebody changes it: the terms that are there, else the usual ones."""
    if terms is None:
        usual = {"modes": (Mode.SUBMIT.value,), "scope": drafts.USUAL_SCOPE, "modalities": "CT,CR,DX"}
        return {**dict.fromkeys(_FIELDS, ""), **usual, "licence": "CC BY-NC 4.0"}
    return {
        "curator": terms.curator.name,
        "modes": tuple(mode.value for mode in terms.modes),
        "scope": terms.scope.description,
        "modalities": ",".join(terms.scope.modalities),
        "studies": str(terms.scope.studies or ""),
        "licence": terms.licence,
        "ethics_reference": terms.ethics_reference or "",
        "expires": _last_day_of(terms.expires_at) if terms.expires_at else "",
    }


def _last_day_of(end: datetime) -> str:
    """The last day before an end at midnight, as it is written; of another end the moment."""
    end = end.astimezone(UTC)
    at_midnight = (end.hour, end.minute, end.second, end.microsecond) == (0, 0, 0, 0)
    return f"{end - timedelta(days=1):%Y-%m-%d}" if at_midnight else f"{end:%Y-%m-%dT%H:%M:%S+00:00}"


def _seen(agreement: pb.Agreement) -> str:
    """What a form says of the agreement that its page showed."""
    is_signed = agreement.HasField("amendment_consent")
    return f"{plain(agreement)['state']} {agreement.version} {agreement.changed_at.ToNanoseconds()} {is_signed}"


def _last_day(text: str) -> str:
    """A last day as it was written, or an empty text; raises `InvalidArgument`, by the words of the page."""
    try:
        if text:
            drafts.end_of(text)
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(name="The last day", problem="write it as 2027-12-31, or leave it empty") from error
    return text


def _studies(text: str) -> int:
    if not (text or "0").isdecimal() or len(text) > len("999999999"):
        raise InvalidArgument(name="The most studies", problem="it is a number, or empty")
    return int(text or "0")
