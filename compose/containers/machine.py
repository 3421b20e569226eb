"""What a machine needs to build and run containers where no image can be pulled, and the commands that do it."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build"  # wheels and the base; git ignores it
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
IMAGES = "localhost/ricord"
BASE = os.environ.get("BASE_IMAGE", f"{IMAGES}/base:bookworm")
_COMMANDS = ("podman", "runc", "debootstrap", "iptables")
_PACKAGES = "podman runc netavark aardvark-dns catatonit debootstrap iptables uidmap"  # of Debian
_SECONDS = 1800


class StepFailed(Exception):
    """A command ended in another way than it should."""


def missing() -> str:
    """Why this machine cannot do it, in a sentence; empty where it can."""
    if os.geteuid() != 0:
        return "containers are made by root here, whom debootstrap needs"
    if absent := [command for command in _COMMANDS if shutil.which(command) is None]:
        return f"{', '.join(absent)}: not installed; apt-get install --no-install-recommends {_PACKAGES}"
    if sys.version_info[:2] != (3, 11):
        return "the base has Python 3.11, and the wheels are built by this Python, which is another"
    return ""


def environment() -> dict[str, str]:
    """Of podman and podman-compose: nothing of the machine's own settings, and our images' names."""
    return {
        **os.environ,
        "CONTAINERS_CONF": str(ROOT / "compose/containers/podman.conf"),
        "STORAGE_DRIVER": "overlay",
        "DISABLE_HC_SYSTEMD": "true",  # podman's timers need systemd; the trial runs each health check itself
        "IMAGES": IMAGES,
        "BASE_IMAGE": BASE,
        "POSTGRES_IMAGE": image("postgres"),
        "ORTHANC_IMAGE": image("orthanc"),
    }


def image(name: str) -> str:
    """The whole name of an image of this version."""
    return f"{IMAGES}/{name}:{VERSION}"


def call(*command: str | Path, ok: Sequence[int] = (0,), text: bytes | None = None) -> str:
    """Run a command to its end and give its standard output. Raises `StepFailed`."""
    words = list(map(str, command))
    result = subprocess.run(
        words, check=False, capture_output=True, input=text, timeout=_SECONDS, env=environment(), cwd=ROOT
    )
    if result.returncode not in ok:
        ending = (result.stderr or result.stdout).decode(errors="replace").strip()[-2000:]
        raise StepFailed(f"{' '.join(words)} ended with {result.returncode}: {ending}")
    return result.stdout.decode(errors="replace")
