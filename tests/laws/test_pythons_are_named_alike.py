"""Which Pythons there may be is said alike to pip, to people, and to the tool that tries them."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.pythons import _interpreter

ROOT = Path(__file__).parents[2]


def test_pythons_are_named_alike() -> None:
    """Every minor version of the range is declared, no other is, and README and site's chapter say the ends."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project["requires-python"])
    assert bounds is not None
    versions = [f"3.{minor}" for minor in range(int(bounds[1]), int(bounds[2]))]
    assert project["classifiers"] == [f"Programming Language :: Python :: {version}" for version in versions]
    first, *_, last = versions
    assert f"Python {', '.join(versions[:-1])} or {last}" in (ROOT / "README.md").read_text()
    assert f"Python {first} to {last}" in (ROOT / "site_node" / "README.md").read_text()


def test_the_tool_installs_what_the_makefile_does() -> None:
    """The same torch, exactly, and the extras are read from there."""
    makefile, tool = (ROOT / "Makefile").read_text(), (ROOT / "tests" / "pythons.py").read_text()
    torch = re.findall(r"torch==[0-9.]+", makefile)
    assert set(torch) == set(re.findall(r"torch==[0-9.]+", tool))
    assert re.search(r"-e '(\.\[[a-z,]+\])'", makefile)


def test_a_shim_that_stands_for_no_python_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pyenv puts a name on the path for every version that it has, which ends with 127 where that one is not chosen."""
    shims, own = tmp_path / "shims", tmp_path / ".pyenv" / "versions" / "3.12.1" / "bin"
    for folder, name, status in ((shims, "python3.12", 127), (shims, "python3.13", 127), (own, "python3", 0)):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"#!/bin/sh\nexit {status}\n")
        (folder / name).chmod(0o700)
    monkeypatch.setenv("PATH", str(shims))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _interpreter("3.12") == str(own / "python3")
    assert _interpreter("3.13") is None
