"""Intake: a folder of this machine, a list for the PACS, each row of it, another try, and the test of the PACS."""

import threading
from datetime import datetime
from pathlib import Path

from shared.errors.base import InternalError, RicordError
from shared.errors.inputs import InvalidArgument
from shared.errors.settings import HomeBusy
from shared.web.console import Page
from shared.web.visit import Answer, Redirect, Shown, Visit
from site_node.console.uploads import uploaded
from site_node.home.folder import SiteHome
from site_node.home.retrieve_requests import Pace
from site_node.node.acquisition import Acquisition
from site_node.node.fetch import fetch
from site_node.node.intake import Intake, receive_source
from site_node.node.open import open_node
from site_node.node.service_trials import try_services
from site_node.reasons import explanation_of
from site_node.receive.accessions import PROBLEMS, AccessionList, of_text, read_accessions

_ON_A_PAGE = 50


class Reception:
    """One folder at a time, received by a thread of its own; a kill loses nothing: it is received again."""

    def __init__(self, home: SiteHome) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.files = 0
        self.began_at: datetime | None = None
        self.intake: Intake | None = None
        self.problem = ""

    @property
    def is_running(self) -> bool:
        """Whether a folder is being received."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, source: Path) -> None:
        """Receive a folder from now on; raises `HomeBusy` while another is received."""
        with self._lock:
            if self.is_running:
                raise HomeBusy(folder="this home's spool")
            self.files, self.intake, self.problem = 0, None, ""
            self.began_at = datetime.now().astimezone()
            self._thread = threading.Thread(target=self._receive, args=(source,), name="reception", daemon=True)
            self._thread.start()

    def _receive(self, source: Path) -> None:
        try:
            with open_node(self._home, writing=False) as node:
                self.intake = receive_source(node, source, on_file=self._count)
        except RicordError as error:
            self.problem = error.public
        except OSError:
            self.problem = InternalError().public

    def _count(self) -> None:
        self.files += 1


class IntakePages:
    """The page, and its forms."""

    def __init__(self, home: SiteHome) -> None:
        self._home = home
        self._reception = Reception(home)

    def pages(self) -> tuple[Page, ...]:
        """What is answered."""
        return (
            Page("GET", "/intake", self._page),
            Page("POST", "/intake/folder", self._folder),
            Page("POST", "/intake/list", self._list),
            Page("POST", "/intake/retry", self._retry),
            Page("POST", "/intake/test", self._test),
        )

    def _page(self, visit: Visit) -> Answer:
        return Shown("intake.html", self._values(visit))

    def _values(self, visit: Visit) -> dict[str, object]:
        page = visit.page_number
        with open_node(self._home, writing=False) as node:
            counts = node.ledger.requests.counts()
            requests = node.ledger.requests.latest(skip=(page - 1) * _ON_A_PAGE, most=_ON_A_PAGE)
            settings = node.settings
        total = sum(counts.states.values())
        return {
            "reception": self._reception,
            "inbox": settings.inbox,
            "asks_a_pacs": settings.asks_a_pacs,
            "counts": counts,
            "requests": requests,
            "total": total,
            "page": page,
            "pages": max(1, -(-total // _ON_A_PAGE)),
            "explanation_of": explanation_of,
            "problems": [],
            "entered": None,
            "services": [],
        }

    def _folder(self, visit: Visit) -> Answer:
        source = Path(visit.form.text("folder"))
        if not source.is_absolute() or not source.exists() or source.resolve().is_relative_to(self._home.folder):
            problem = "give a folder, zip archive, DICOMDIR or file of this machine, from its first slash on"
            raise InvalidArgument(name="The folder", problem=f"{problem}, which is not of this home")
        self._reception.begin(source)
        return Redirect("/intake", "begun")

    def _list(self, visit: Visit) -> Answer:
        listed = self._listed(visit)
        if not listed.requests and not listed.problems:
            raise InvalidArgument(name="The list", problem="it is empty")
        report, _ = fetch(self._home, listed, pace=Pace.QUEUE)
        problems = [
            (row, code, f"{PROBLEMS[code]}." if code in PROBLEMS else explanation_of(code))
            for row, code in report.rows.items()
        ]
        return Shown("intake.html", {**self._values(visit), "entered": report.requests, "problems": problems})

    def _listed(self, visit: Visit) -> AccessionList:
        """The list that was typed, or that of the file."""
        columns = {"column": visit.form.optional("column"), "patient_column": visit.form.optional("patient_column")}
        typed = visit.form.optional("numbers", most=1 << 20)
        if typed:
            return of_text(typed, **columns)
        with uploaded(self._home, visit.form.upload()) as file:
            return read_accessions(file, **columns)

    def _retry(self, visit: Visit) -> Answer:
        del visit
        with open_node(self._home, writing=False) as node:
            Acquisition(node.home, node.settings, node.stages.names).pacs_settings()
            node.ledger.requests.reopen()
        return Redirect("/intake", "retried")

    def _test(self, visit: Visit) -> Answer:
        with open_node(self._home, writing=False) as node:
            acquisition = Acquisition(node.home, node.settings, node.stages.names)
            tried = try_services(acquisition, visit.form.optional("accession"))
        return Shown("intake.html", {**self._values(visit), "services": tried})
