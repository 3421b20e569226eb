"""Beside a running node the verbs of stages say that it does their work, and what a person decides is left to it."""

import json
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from shared.errors.base import ExitCode
from shared.errors.studies import DicomUnreadable
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.node.pipeline import Pipeline
from site_node.node.stages import Stages
from tests.factories.pipeline import enter, make_study
from tests.unit.site_node.commands.conftest import Run


@pytest.fixture
def home(tmp_path: Path, run: Run) -> Iterator[SiteHome]:
    """A home that is served, with a study that its screen refused."""
    assert run("--home", tmp_path / "home", "init", "--name", "General")[0] == 0
    home = SiteHome(tmp_path / "home")
    ledger = Ledger(home.ledger)
    enter(home, ledger, make_study(home, "good-1"))
    with home.writing(), home.serving():
        refusing = Stages(screen=Mock(side_effect=DicomUnreadable(problem="x")))
        Pipeline(home, ledger, refusing, originals_stay=None).run()
        yield home
    ledger.close()


VERBS = [("screen",), ("deidentify",), ("validate",), ("seal",), ("submit",), ("run", "--once"), ("run",)]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_a_verb_says_that_the_node_does_it_and_when(run: Run, home: SiteHome, verb: tuple[str, ...]) -> None:
    """In one sentence, which `status` continues."""
    code, _, text = run("--home", home.folder, *verb)
    assert (code, text.count("\n")) == (ExitCode.FAILED, 1)
    assert "does this by itself" in text
    assert "10 seconds" in text
    assert "Another command" not in text


def test_a_study_is_tried_again_by_the_node(run: Run, home: SiteHome) -> None:
    ledger = Ledger(home.ledger)
    (entry,) = ledger.studies()
    assert entry.state is State.REFUSED
    code, text, _ = run("--home", home.folder, "run", "--once", "--retry", entry.key, "--json")
    assert (code, json.loads(text)) == (0, {"retried": [entry.key], "node_running": True})
    assert ledger.study(entry.key).state is State.RECEIVED
    assert [(event.actor, event.action) for event in ledger.events()] == [("A. Miller", "retry")]
    ledger.close()
