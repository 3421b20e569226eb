"""A service whose files nobody touches for longer than its work may last is stuck, and no other is."""

import os
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors.settings import ServiceStuck
from shared.monitoring.pulse import SILENCE_SECONDS, Doing, Pulse, Silence

MARGIN = 20.0  # seconds that this test itself may be held up


@given(doing=st.sampled_from(["waiting", "working"]), seconds=st.floats(0, 1e6))
def test_silence_is_too_long_by_what_is_done(doing: Doing, seconds: float) -> None:
    """Work may last longer than a wait."""
    assert Silence(doing, seconds).is_too_long == (seconds > SILENCE_SECONDS[doing])
    assert SILENCE_SECONDS["working"] > SILENCE_SECONDS["waiting"]


@pytest.mark.parametrize("doing", ["waiting", "working"])
def test_another_process_sees_the_last_beat(tmp_path: Path, doing: Doing) -> None:
    """Whatever was done before it; a clock that was set back since is no silence."""
    other: Doing = "working" if doing == "waiting" else "waiting"
    service, seen = Pulse(tmp_path / "pulse"), Pulse(tmp_path / "pulse")
    assert seen.silence() is None
    with pytest.raises(ServiceStuck):
        seen.check("serve")
    service.beat(other)
    os.utime(tmp_path / "pulse" / other, times=(0, time.time() - 10))
    service.beat(doing)
    silence = seen.silence()
    assert silence is not None
    assert (silence.doing, silence.seconds < MARGIN) == (doing, True)
    seen.check("serve")
    for age, is_stuck in ((-3600, False), (SILENCE_SECONDS[doing] - MARGIN, False), (SILENCE_SECONDS[doing] + 1, True)):
        for file in (tmp_path / "pulse").iterdir():
            os.utime(file, times=(0, time.time() - age - (file.name == other)))
        if is_stuck:
            with pytest.raises(ServiceStuck, match="no sign of life"):
                seen.check("serve")
        else:
            seen.check("serve")


def test_a_beat_costs_nothing_where_another_was_just_now(tmp_path: Path) -> None:
    """Two in a second touch the file once; another doing touches its own at once."""
    pulse = Pulse(tmp_path / "pulse")
    pulse.beat("working")
    (tmp_path / "pulse" / "working").unlink()
    pulse.beat("working")
    assert not (tmp_path / "pulse" / "working").exists()
    pulse.beat("waiting")
    pulse.beat("working")
    assert (tmp_path / "pulse" / "working").exists()


def test_a_folder_that_cannot_be_written_stops_no_service(tmp_path: Path) -> None:
    """The pulse is missing then, and nothing is raised."""
    (tmp_path / "file").touch()
    pulse = Pulse(tmp_path / "file")
    pulse.beat("waiting")
    assert pulse.silence() is None


def test_a_service_that_goes_on_beats_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not more often, and not more rarely."""
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    pulse, touched = Pulse(tmp_path / "pulse"), list[bool]()
    for moment in (100.0, 100.9, 101.1, 101.9, 102.2):
        clock[0] = moment
        pulse.beat("working")
        file = tmp_path / "pulse" / "working"
        touched.append(file.exists())
        file.unlink(missing_ok=True)
    assert touched == [True, False, True, False, True]


def test_a_pulse_is_its_owners_alone(tmp_path: Path) -> None:
    """When a hospital works is nobody else's business."""
    Pulse(tmp_path / "pulse").beat("waiting")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "pulse", tmp_path / "pulse" / "waiting")]
    assert modes == [0o700, 0o600]
