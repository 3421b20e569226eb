"""`make pythons`: the unit tests under each Python that `pyproject.toml` declares; exits 1 where one fails.

A Python that is not on this machine is not tested: that its packages resolve is shown instead. It needs nothing but a
Python of its own, since the environments are made here.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = re.compile(r"-e '(\.\[[a-z,]+\])'")  # as the Makefile installs them
TORCH = "torch==2.13.0"  # exactly: any range would fetch gigabytes
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", "constraints.txt")
TESTS = ("-m", "pytest", "-q", "-n", "2", "tests/unit", "tests/contract")


def main() -> int:
    """Go through the versions."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    versions = [each.rpartition(" ")[2] for each in declared if each.startswith("Programming Language :: Python :: 3.")]
    return max(_try(version) for version in versions)


def _try(version: str) -> int:
    """0 where the tests pass, or the packages resolve."""
    project = EXTRAS.search((ROOT / "Makefile").read_text())
    assert project is not None
    interpreter = _interpreter(version)
    if interpreter is None:
        to = ("--dry-run", "--ignore-installed", "--target", ".venv-none", "--python-version", version)
        status = _run(sys.executable, *PIP, *to, "--only-binary=:all:", TORCH, project[1])
        _say(f"Python {version} is not here; its packages {'do not ' if status else ''}resolve.")
        return status
    own = f".venv-{version}/bin/python"
    status = (
        _run(interpreter, "-m", "venv", f".venv-{version}")
        or _run(own, *PIP, TORCH)
        or _run(own, *PIP, "-e", project[1])
        or _run(own, *TESTS)
    )
    _say(f"Python {version}: the unit tests {'fail' if status else 'pass'}.")
    return status


def _interpreter(version: str) -> str | None:
    """A Python of that version that starts: on the path, where pyenv's shims may stand for none, or of pyenv's."""
    of_pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"))
    places = [shutil.which(f"python{version}"), *map(str, reversed(of_pyenv))]
    return next((place for place in places if place and _starts(place)), None)


def _starts(place: str) -> bool:
    return subprocess.run([place, "--version"], check=False, capture_output=True).returncode == 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _run(*command: str) -> int:
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
