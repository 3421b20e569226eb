"""A site's home with studies in review, its console, and people of each role at a browser without a window."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from shared.ids import StudyKey, Uid
from shared.web.store import Store
from site_node.blanking import BURNED_IN_TEXT, FINDINGS_FILE, FrameWithText, Sides, TextFindings
from site_node.console.roles import Role
from site_node.console.site import make_console
from site_node.federate.policy import POLICY_FILE, write_default_policy
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.home.records import Records
from site_node.reasons import reason_for
from tests.factories.consoles import SETTINGS, Browser
from tests.factories.pipeline import make_home, make_study

BOX = Sides(10, 10, 60, 30)


def add_burned(home: SiteHome, ledger: Ledger, name: str) -> StudyKey:
    """A study that waits for a person, with a picture on which a text was found."""
    study = make_study(home, name)
    reasons = (reason_for(BURNED_IN_TEXT),)
    ledger.add_study(study.key, [each.name for each in study.instances], state=State.QUARANTINED, reasons=reasons)
    Records(home).write(study.key, study)
    folder = home.quarantine / study.key
    folder.mkdir(mode=0o700)
    Image.linear_gradient("L").save(folder / "0.png")
    frame = FrameWithText(picture="0.png", instance=Uid("1.2.3"), frame=0, boxes=(BOX,))
    (folder / FINDINGS_FILE).write_text(TextFindings(frames=(frame,)).model_dump_json())
    return study.key


@dataclass(frozen=True)
class Site:
    """A home, its ledger, and its console over the wire's fake."""

    home: SiteHome
    ledger: Ledger
    store: Store

    def person(self, role: Role, name: str = "") -> Browser:
        """A new person of that role, signed in."""
        browser = Browser(make_console(self.home, SETTINGS, self.store))
        browser.join(self.store, name or f"Dr. {role.title()}", role)
        return browser


@contextmanager
def site_console(folder: Path) -> Iterator[Site]:
    """A new home and its console."""
    home = make_home(folder)
    write_default_policy(home.folder / POLICY_FILE)
    with closing(Ledger(home.ledger)) as ledger, closing(Store(home.console)) as store:
        yield Site(home, ledger, store)
