"""Receptions follow each other: a command waits for its turn, the node goes on without and comes back."""

import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from shared.errors.settings import HomeBusy
from site_node.home.folder import SiteHome, init_home
from site_node.node.acquisition import Acquisition
from site_node.node.intake import receive_source
from site_node.node.open import open_node
from site_node.node.service import run_once
from tests.factories.dicom import make_dx, write_file


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    (tmp_path / "source").mkdir()
    write_file(make_dx(study="a"), tmp_path / "source" / "film.dcm")
    return init_home(tmp_path / "home", name="General")


def test_a_command_waits_and_says_so(home: SiteHome, tmp_path: Path) -> None:
    """Without anybody to tell that it waits, it does not wait."""
    with open_node(home, writing=False) as node, ExitStack() as other:
        other.enter_context(home.receiving())
        with pytest.raises(HomeBusy):
            receive_source(node, tmp_path / "source")
        assert receive_source(node, tmp_path / "source", waits=other.close).studies == 1


def test_the_node_receives_inbox_and_arrivals_later(home: SiteHome, tmp_path: Path) -> None:
    """While a command receives, a pass ends without them; the next one has both."""
    write_file(make_dx(study="b"), home.folder / "inbox" / "film.dcm")
    with open_node(home) as node:
        arrived = make_dx(study="c")
        content = write_file(arrived, tmp_path / "c.dcm").read_bytes()
        arrivals = Acquisition(home, node.settings, node.stages.names).arrivals
        arrivals.store(str(arrived.StudyInstanceUID), str(arrived.SOPInstanceUID), content)
        with home.receiving():
            run_once(node, threading.Event())
        assert node.ledger.studies() == ()
        run_once(node, threading.Event())
        assert len(node.ledger.studies()) == 2
