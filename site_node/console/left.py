"""What left: each study that was submitted, with its report and receipt, and where it stands at the centre."""

import re

from shared.errors.inputs import NotFound
from shared.ids import StudyKey
from shared.receipt import Receipt
from shared.signed import Signed
from shared.web.console import Page
from shared.web.visit import Answer, Shown, Visit
from site_node.home.folder import SiteHome
from site_node.home.ledger import State, StudyEntry
from site_node.node.open import Node, open_node
from site_node.validate.report import Report

_ON_A_PAGE = 50
_KEY = re.compile(r"[0-9a-f]{32}")


class LeftPages:
    """The list, and one study."""

    def __init__(self, home: SiteHome) -> None:
        self._home = home

    def pages(self) -> tuple[Page, ...]:
        """What is answered."""
        return (Page("GET", "/left", self._list), Page("GET", "/left/{study}", self._study))

    def _list(self, visit: Visit) -> Answer:
        page = visit.page_number
        with open_node(self._home, writing=False) as node:
            total = node.ledger.state_counts().get(State.SUBMITTED, 0)
            skip = (page - 1) * _ON_A_PAGE
            entries = node.ledger.studies(State.SUBMITTED, order="audit_number desc", most=_ON_A_PAGE, skip=skip)
            states = node.ledger.submissions.of_studies([entry.study for entry in entries if entry.study])
        rows = [(entry, states.get(entry.study) if entry.study else None) for entry in entries]
        return Shown(
            "left.html", {"rows": rows, "total": total, "page": page, "pages": max(1, -(-total // _ON_A_PAGE))}
        )

    def _study(self, visit: Visit) -> Answer:
        key = visit.values["study"]
        if not _KEY.fullmatch(key):
            raise NotFound(kind="study", name="with that key")
        with open_node(self._home, writing=False) as node:
            entry = node.ledger.study(StudyKey(key))
            if entry.state is not State.SUBMITTED or entry.study is None:
                raise NotFound(kind="submitted study", name="with that key")
            states = node.ledger.submissions.of_studies([entry.study])
            return Shown(
                "left_study.html", {"entry": entry, **_documents(node, entry), "state": states.get(entry.study)}
            )


def _documents(node: Node, entry: StudyEntry) -> dict[str, object]:
    """What is kept of a study that left; `None` for a document that is not here."""
    report, receipt = node.home.reports / f"{entry.study}.json", node.home.receipts / (entry.receipt or "none")
    signed = Signed.model_validate_json(receipt.read_bytes()) if receipt.exists() else None
    return {
        "report": Report.model_validate_json(report.read_bytes()) if report.exists() else None,
        "receipt": Receipt.model_validate_json(signed.document) if signed else None,
    }
