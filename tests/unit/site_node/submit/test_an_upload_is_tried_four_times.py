"""What may pass is tried again, three times and no more, with a pause before each; a refusal is not."""

from itertools import takewhile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors.base import RicordError
from shared.errors.transport import CoordinatorBusy, CoordinatorUnreachable, UploadInterrupted
from shared.errors.trust import ReceiptInvalid
from shared.signed import Signed
from site_node.submit import client
from site_node.submit.receipts import Answer

ANSWER = Answer(Signed(document="{}", signature="c2ln"))
PASSING = [CoordinatorUnreachable(address="centre"), UploadInterrupted(), CoordinatorBusy(seconds="40")]
ERRORS = st.lists(st.sampled_from([*PASSING, ReceiptInvalid(problem="it lies")]), max_size=6)


@given(errors=ERRORS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_may_pass_is_tried_again(monkeypatch: pytest.MonkeyPatch, errors: list[RicordError]) -> None:
    """Of any row of errors the first three that may pass are waited out: as long as is usual, or as a busy one says."""
    slept, waiting = list[float](), iter(errors)
    monkeypatch.setattr("time.sleep", slept.append)

    def upload() -> Answer:
        for error in waiting:
            raise error
        return ANSWER

    waited_out = list(takewhile(lambda error: error in PASSING, errors[:3]))
    if len(waited_out) < len(errors):
        with pytest.raises(type(errors[len(waited_out)])):
            client._with_retries(upload)
    else:
        assert client._with_retries(upload) is ANSWER
    assert list(waiting) == errors[len(waited_out) + 1 :]
    assert len(slept) == len(waited_out)
    for pause, usual, error in zip(slept, (0.5, 2, 5), waited_out, strict=False):
        wanted = error.seconds if isinstance(error, CoordinatorBusy) else usual
        assert wanted / 2 <= pause <= wanted * 3 / 2
