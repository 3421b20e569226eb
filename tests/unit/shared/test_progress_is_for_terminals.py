"""How far a long command is stands on a terminal only: stage, n of m, how many a second, the time left."""

import io
import sys

import pytest

from shared.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_stage_count_and_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress("Studies", lambda: 3, unit="studies") as advance:
        advance(1, "screened")
        advance(1, "validated")
        advance()
    shown = terminal.getvalue()
    assert "Studies" in shown
    assert "validated" in shown
    assert "3/3" in shown
    assert "studies/s" in shown
    assert "0:00:00" in shown
    assert shown.endswith("\x1b[2K"), "the bar goes when the block ends"


@pytest.mark.parametrize(("stream", "shown"), [(io.StringIO, True), (Terminal, False)])
def test_elsewhere_nothing_is_shown_or_counted(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], shown: bool
) -> None:
    """In a log, or where a service runs, there is no bar; the total, which may be dear, is not asked."""
    output = stream()
    monkeypatch.setattr(sys, "stderr", output)
    with progress("Studies", lambda: pytest.fail("asked"), shown=shown) as advance:
        advance()
    assert output.getvalue() == ""
