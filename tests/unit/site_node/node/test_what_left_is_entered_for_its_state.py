"""What the pipeline submitted is known by its submission, so that its state at the centre can be asked for."""

from contextlib import closing
from pathlib import Path

from shared.submission_state import SubmissionState
from site_node.home.ledger import Ledger, State
from site_node.node.pipeline import Pipeline
from tests.factories.pipeline import enter, make_home, make_stages, make_study


def test_what_left_is_entered_for_its_state(tmp_path: Path) -> None:
    """Each study that got a receipt, as received, under the patient that its manifest names; no other is."""
    home = make_home(tmp_path / "home")
    with closing(Ledger(home.ledger)) as ledger:
        enter(home, ledger, *(make_study(home, name) for name in ("good-1", "good-2", "excluded-3")))
        Pipeline(home, ledger, make_stages(home, tmp_path / "submitted")).run()
        left = [entry.study for entry in ledger.studies(State.SUBMITTED) if entry.study]
        states = ledger.submissions.of_studies(left)
        assert set(states) == set(left)
        assert {state.state for state in states.values()} == {SubmissionState.RECEIVED}
        assert all(state.patient for state in states.values())
        assert ledger.submissions.counts().total() == len(left) == 2
