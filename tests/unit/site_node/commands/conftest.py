"""Runs the command in this process, for its output and exit code."""

import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator

import pytest

from shared.terminal import run_app
from site_node.cli import app

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """`run("status", "--json")` gives exit code, standard output and standard error."""
    hook = threading.excepthook

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ricord-site", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            run_app(app, "ricord-site")
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("RICORD_SITE_HOME", raising=False)
    monkeypatch.setenv("RICORD_SITE_PERSON", "A. Miller")
    with warnings.catch_warnings():
        yield call
    threading.excepthook = hook
    for name in ("pydicom", "pynetdicom"):
        logging.getLogger(name).disabled = False
