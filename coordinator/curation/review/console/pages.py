"""The next study to look at, sheet by sheet: a key says what is seen, and a named person confirms the study."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from coordinator.curation.deciding import checked_reasons
from coordinator.curation.membership import CuratorHome
from coordinator.curation.opening import OpenedStudy
from coordinator.curation.register.acts import Act, Actor, CaseState, Role
from coordinator.curation.register.register import Case, Register, opened_study
from coordinator.curation.review.overview import OverviewFolder, overview_of
from coordinator.curation.review.reviewing import Mark, codes_to_allow, confirm, mark, marks_of, results_of
from coordinator.curation.review.sending import keep_for_site
from shared.errors.inputs import ActRefused, InvalidArgument, NotFound
from shared.ids import Uid
from shared.submission_state import SubmissionState
from shared.web.console import Page
from shared.web.visit import Answer, Content, Redirect, Shown, Visit

KEYS: Mapping[Mark, str] = MappingProxyType(
    {Mark.GOOD: "g", Mark.TEXT: "t", Mark.WRONG_PART: "w", Mark.LOCALIZER: "l", Mark.BLANK: "b", Mark.DAMAGED: "d"}
)
_WAITING = (CaseState.CHECKED, CaseState.REVIEWED, CaseState.QUARANTINED)


class ReviewRole(StrEnum):
    """Whoever has the link is the curator's person whom it names."""

    CURATOR = "curator"


ROLES: Mapping[str, frozenset[ReviewRole]] = MappingProxyType(
    dict.fromkeys(
        (
            "GET /",
            "GET /cases/{case}",
            "GET /cases/{case}/sheets/{sheet}",
            "POST /cases/{case}/sheets/{sheet}",
            "GET /cases/{case}/sheets/{sheet}/picture",
            "POST /cases/{case}/confirm",
            "POST /cases/{case}/reject",
        ),
        frozenset(ReviewRole),
    )
)


@dataclass(frozen=True)
class ReviewPages:
    """What is answered. `send` sends to the coordinator what was decided; what cannot be sent is kept."""

    home: CuratorHome
    register: Register
    send: Callable[[], None]

    def pages(self) -> tuple[Page, ...]:
        """What is answered."""
        return (
            Page("GET", "/", self._cases),
            Page("GET", "/cases/{case}", self._case),
            Page("GET", "/cases/{case}/sheets/{sheet}", self._sheet),
            Page("POST", "/cases/{case}/sheets/{sheet}", self._mark),
            Page("GET", "/cases/{case}/sheets/{sheet}/picture", self._picture),
            Page("POST", "/cases/{case}/confirm", self._confirm),
            Page("POST", "/cases/{case}/reject", self._reject),
        )

    def _cases(self, visit: Visit) -> Answer:
        del visit
        with self.register.reading() as reading:
            waiting = [case for state in _WAITING for case in reading.cases(state)]
            rows = [(case, sorted({each.code for each in results_of(reading, case)})) for case in waiting]
        return Shown("cases.html", {"rows": rows})

    def _case(self, visit: Visit) -> Answer:
        """The first sheet on which an image has no mark yet, else what the checks and the marks say."""
        case, study, made = self._opened(visit)
        with self.register.reading() as reading:
            marks = marks_of(reading, case)
        for number, sheet in enumerate(made.overview.sheets, 1):
            if case.state is CaseState.CHECKED and not set(sheet.instances) <= set(marks):
                return Redirect(f"/cases/{case.number}/sheets/{number}", visit.query.get("notice", ""))
        return self._asked(case, study, made)

    def _asked(
        self, case: Case, study: OpenedStudy, made: OverviewFolder, *, problem: str = "", status: int = 200
    ) -> Shown:
        with self.register.reading() as reading:
            results, marks = results_of(reading, case), marks_of(reading, case)
        values = {
            "case": case,
            "results": [each for each in results if each.verdict != "accept"],
            "to_allow": sorted(codes_to_allow(results)),
            "marks": [(each, sum(said is each for said in marks.values())) for each in Mark],
            "sheets": len(made.sheets),
            "images": len(study.instances),
            "may_confirm": case.state in {CaseState.REVIEWED, CaseState.QUARANTINED},
            "problem": problem,
        }
        return Shown("case.html", values, status)

    def _sheet(self, visit: Visit) -> Answer:
        case, _, made = self._opened(visit)
        number = _number(visit, made)
        with self.register.reading() as reading:
            marks = marks_of(reading, case)
        instances = made.overview.sheets[number - 1].instances
        values = {
            "case": case,
            "number": number,
            "sheets": len(made.sheets),
            "instances": [(place, uid, marks.get(uid)) for place, uid in enumerate(instances, 1)],
            "keys": [(each, key) for each, key in KEYS.items()],
            "may_mark": case.state in {CaseState.CHECKED, CaseState.REVIEWED},
        }
        return Shown("sheet.html", values)

    def _mark(self, visit: Visit) -> Answer:
        """Mark every image of the sheet, or those that were chosen."""
        case, study, made = self._opened(visit)
        number = _number(visit, made)
        instances, chosen = made.overview.sheets[number - 1].instances, visit.form.texts("instance")
        if not set(chosen) <= set(instances):
            raise InvalidArgument(name="The image", problem="it is not on this sheet")
        try:
            seen = Mark(visit.form.text("mark"))
        except ValueError as error:
            raise InvalidArgument(name="The mark", problem="it is one of " + ", ".join(Mark)) from error
        said = dict.fromkeys([Uid(each) for each in chosen] or instances, seen)
        with self.register.changing() as change:
            if chosen:  # the rest of the sheet was looked at, too
                said |= dict.fromkeys(set(instances) - set(marks_of(change, case)) - set(said), Mark.GOOD)
            mark(change, case, study, said, _person(visit))
        return Redirect(f"/cases/{case.number}", "marked")

    def _confirm(self, visit: Visit) -> Answer:
        case, study, made = self._opened(visit)
        try:
            with self.register.changing() as change:
                confirm(change, case, study, _person(visit), visit.form.texts("allow"))
                keep_for_site(change, case, SubmissionState.ACCEPTED, ())
        except ActRefused as error:
            return self._asked(case, study, made, problem=error.public, status=409)
        self.send()
        return self._next("confirmed")

    def _reject(self, visit: Visit) -> Answer:
        case, _, _ = self._opened(visit)
        reasons = checked_reasons([visit.form.text("reason", most=100)])
        with self.register.changing() as change:
            change.act(case, Act.REJECT, _person(visit))
            keep_for_site(change, case, SubmissionState.REJECTED, reasons)
        self.send()
        return self._next("rejected")

    def _picture(self, visit: Visit) -> Answer:
        _, _, made = self._opened(visit)
        return Content(made.sheets[_number(visit, made) - 1].read_bytes(), "image/png")

    def _next(self, notice: str) -> Answer:
        """The next study that nobody has reviewed, else the list."""
        with self.register.reading() as reading:
            waiting = reading.cases(CaseState.CHECKED)
        return Redirect(f"/cases/{waiting[0].number}" if waiting else "/", notice)

    def _opened(self, visit: Visit) -> tuple[Case, OpenedStudy, OverviewFolder]:
        number = visit.values["case"]
        if not (number.isascii() and number.isdecimal()):
            raise NotFound(kind="study", name="of that number")
        with self.register.reading() as reading:
            case = reading.case(int(number[:9]))
        study = opened_study(self.home.opened, case)
        return case, study, overview_of(study, case.number)


def _number(visit: Visit, made: OverviewFolder) -> int:
    text = visit.values["sheet"]
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= len(made.sheets)):
        raise NotFound(kind="sheet", name="of that number")
    return int(text[:9])


def _person(visit: Visit) -> Actor:
    return Actor(role=Role.CURATOR, name=visit.person.name)
