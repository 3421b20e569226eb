"""Every study, image and file is counted in exactly one place."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from site_node.home.ledger import Ledger, State
from site_node.home.status import status_of
from site_node.study import Ending
from tests.factories.pipeline import key_of, reason


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states=st.lists(st.sampled_from(State), max_size=12), files=st.integers(0, 3))
def test_the_places_sum_to_what_was_received(tmp_path: Path, states: list[State], files: int) -> None:
    """Whatever happened to the studies, the five places sum to all studies, and to all images."""
    file = tmp_path / "ledger.sqlite"
    file.unlink(missing_ok=True)
    ledger = Ledger(file, durable=False)  # so that each example begins another
    for number, state in enumerate(states):
        ledger.add_study(key_of(str(number)), ["a", "b"], state=state, reasons=[reason("why")])
    ledger.add_files([(str(number), Ending.REFUSED, "not-dicom") for number in range(files)])
    status = status_of(ledger, name="x", site_id=None)
    ledger.close()
    places = (status.excluded, status.quarantined, status.refused, status.waiting)
    assert status.received == len(states) == status.submitted + sum(place.total for place in places)
    assert all(sum(place.reasons.values()) == place.total for place in places)
    assert sum(status.instances.values()) == 2 * len(states)
    assert sum(status.files.values()) == files
