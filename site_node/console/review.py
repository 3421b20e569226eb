"""Review: the studies that wait for a person, each with its pictures, and what is decided on it."""

import re
from pathlib import Path

from shared.errors.inputs import InvalidArgument, NotFound
from shared.ids import StudyKey
from shared.web.console import Page
from shared.web.visit import Answer, Content, Redirect, Shown, Visit
from site_node.blanking import BLANKING_ANSWERS, FrameWithText
from site_node.console.seen import seen_of, seen_text
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.node.open import open_node
from site_node.reasons import advice_for
from site_node.review import decisions
from site_node.review.decisions import ReviewCase

_ON_A_PAGE = 50
_KEY = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"[0-9]{1,6}")


class ReviewPages:
    """The queue, a study, its pictures, and three decisions."""

    def __init__(self, home: SiteHome) -> None:
        self._home = home

    def pages(self) -> tuple[Page, ...]:
        """What is answered."""
        return (
            Page("GET", "/review", self._queue),
            Page("GET", "/review/{study}", self._study),
            Page("GET", "/review/{study}/picture/{number}", self._picture),
            Page("POST", "/review/{study}/blank", self._blank),
            Page("POST", "/review/{study}/release", self._release),
            Page("POST", "/review/{study}/reject", self._reject),
        )

    def _queue(self, visit: Visit) -> Answer:
        page = visit.page_number
        with open_node(self._home, writing=False) as node:
            total = node.ledger.state_counts().get(State.QUARANTINED, 0)
            skip = (page - 1) * _ON_A_PAGE
            items = decisions.list_waiting(node.home, node.ledger, most=_ON_A_PAGE, skip=skip)
        values = {"items": items, "total": total, "page": page, "pages": max(1, -(-total // _ON_A_PAGE))}
        return Shown("review.html", {**values, "advice_for": advice_for})

    def _study(self, visit: Visit) -> Answer:
        with open_node(self._home, writing=False) as node:
            case = decisions.show(node.home, node.ledger, _key(visit))
            following = _next(node.ledger, case)
        may_blank = not BLANKING_ANSWERS.isdisjoint(reason.code for reason in case.item.reasons)
        values = {
            "case": case,
            "frames": [(int(Path(frame.picture).stem), frame, _typed(frame)) for frame in case.frames],
            "may_blank": may_blank,
            "seen": seen_text(case.item.since),
            "next": following,
            "advice_for": advice_for,
        }
        return Shown("review_study.html", values)

    def _picture(self, visit: Visit) -> Answer:
        number = visit.values["number"]
        if not _NUMBER.fullmatch(number):
            raise NotFound(kind="picture", name="of that number")
        try:
            return Content((self._home.quarantine / _key(visit) / f"{int(number)}.png").read_bytes(), "image/png")
        except FileNotFoundError:
            raise NotFound(kind="picture", name="of that number; the study may have been decided on") from None

    def _blank(self, visit: Visit) -> Answer:
        boxes = visit.form.texts("box")
        typed = [line for text in visit.form.texts("typed") for line in text.split()]
        with open_node(self._home, writing=False) as node:
            decisions.blank(
                node.home,
                node.ledger,
                _key(visit),
                actor=visit.person.name,
                reason=visit.form.text("reason"),
                boxes=_named([*boxes, *typed]),
                seen=seen_of(visit.form),
            )
        return Redirect("/review", "blanked")

    def _release(self, visit: Visit) -> Answer:
        with open_node(self._home, writing=False) as node:
            why, seen = visit.form.text("reason"), seen_of(visit.form)
            decisions.release(node.home, node.ledger, _key(visit), actor=visit.person.name, reason=why, seen=seen)
        return Redirect("/review", "released")

    def _reject(self, visit: Visit) -> Answer:
        with open_node(self._home, writing=False) as node:
            why, seen = visit.form.text("reason"), seen_of(visit.form)
            decisions.reject(node.home, node.ledger, _key(visit), actor=visit.person.name, reason=why, seen=seen)
        return Redirect("/review", "rejected")


def _key(visit: Visit) -> StudyKey:
    """The study of the path; raises `NotFound`, which does not quote it."""
    if not _KEY.fullmatch(visit.values["study"]):
        raise NotFound(kind="study", name="with that key")
    return StudyKey(visit.values["study"])


def _typed(frame: FrameWithText) -> list[str]:
    """Each box that was found, as it is typed."""
    return [f"{frame.picture}:{','.join(str(max(0, side)) for side in box)}" for box in frame.boxes]


def _named(boxes: list[str]) -> list[str]:
    if not boxes:
        raise InvalidArgument(name="The decision", problem="draw or keep at least one box, or release the study")
    return boxes


def _next(ledger: Ledger, case: ReviewCase) -> StudyKey | None:
    """The study that waits longest, of the others."""
    waiting = ledger.studies(State.QUARANTINED, order="changed_at, key", most=2)
    return next((entry.key for entry in waiting if entry.key != case.item.key), None)
