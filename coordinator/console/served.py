"""The centre's console put together."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from coordinator.console.agreements import AgreementPages
from coordinator.console.audit import AuditPages
from coordinator.console.centre import Centre
from coordinator.console.cohorts import CohortPages
from coordinator.console.roles import ROLES
from coordinator.console.runs import RunPages
from coordinator.console.sites import SitePages
from coordinator.console.submissions import SubmissionPages
from shared.web.console import Console, Frame
from shared.web.serving import serving
from shared.web.store import Store

_MENU = (
    ("/", "Sites"),
    ("/agreements", "Agreements"),
    ("/submissions", "Submissions"),
    ("/cohorts", "Cohorts"),
    ("/runs", "Runs"),
    ("/audit", "Audit"),
)


def make_console(centre: Centre, store: Store) -> Console:
    """The console of a home."""
    rooms = (
        *(SitePages(centre), AgreementPages(centre), SubmissionPages(centre), CohortPages(centre), RunPages(centre)),
        AuditPages(centre),
    )
    pages = [page for room in rooms for page in room.pages()]
    frame = Frame("RICORD coordinator", ("coordinator.console",), _MENU)
    return Console(frame, centre.settings, store, pages, ROLES)


@contextmanager
def console_served(centre: Centre) -> Iterator[None]:
    """Serve it while the block runs; raises `PortInUse`, `SourceMissing`."""
    with (
        closing(Store(centre.people)) as store,
        serving(make_console(centre, store), centre.settings, centre.folder),
    ):
        yield
