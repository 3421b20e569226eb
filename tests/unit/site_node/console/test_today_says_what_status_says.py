"""The first page shows the counts of `ricord-site status`, and what is to be done."""

import time
from pathlib import Path

from shared.ids import StudyKey
from site_node.console.roles import Role
from site_node.home.ledger import State
from site_node.node.pipeline import Pipeline
from site_node.reasons import advice_for
from tests.factories.pipeline import enter, make_stages, make_study
from tests.factories.site_consoles import add_burned, site_console

NAMES = ("good-1", "good-2", "excluded-4", "review-5", "refused-6")


def test_today_says_what_status_says(tmp_path: Path) -> None:
    """Every place, reason and advice; the latest study that left is listed first, and each leads to its receipt."""
    with site_console(tmp_path / "home") as site:
        enter(site.home, site.ledger, *(make_study(site.home, name) for name in NAMES))
        Pipeline(site.home, site.ledger, make_stages(site.home, tmp_path / "submitted")).run()
        add_burned(site.home, site.ledger, "burned")
        viewer = site.person(Role.VIEWER)
        page = " ".join(viewer.open("/").split())
        for name, count in (("Received", 6), ("Submitted", 2), ("Quarantined", 2), ("Excluded", 1), ("Refused", 1)):
            assert f"<dt>{name}</dt><dd>{count}<" in page
        assert "No node is running" in page
        assert "not-chest" in page
        assert advice_for("burned-in-text").replace("'", "&#39;") in page
        assert "<dt>Quarantined</dt><dd>2<" in " ".join(viewer.open("/figures").split())
        left = viewer.open("/left")
        newest = site.ledger.studies(State.SUBMITTED, order="audit_number desc")
        assert [left.index(entry.key[:8]) for entry in newest] == sorted(left.index(entry.key[:8]) for entry in newest)


def test_pages_are_quick_with_many_studies(tmp_path: Path) -> None:
    """The first page, the queue and what left are not read whole, so ten thousand studies cost next to nothing."""
    with site_console(tmp_path / "home") as site:
        with site.ledger.changing():
            for number in range(10_000):
                site.ledger.add_study(StudyKey(f"{number:032x}"), [], state=State.SUBMITTED)
        reviewer = site.person(Role.REVIEWER)
        for path in ("/", "/review", "/left", "/audit"):
            reviewer.open(path)
            began = time.perf_counter()
            reviewer.open(path)
            assert time.perf_counter() - began < 0.5, path
