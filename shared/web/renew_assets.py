"""Copy what others wrote into `assets/`, from npm, by the versions that stand here.

A developer's tool: `python -m shared.web.renew_assets`. A new version is written here first; the SHA-256 of each file
then stands in `vendored.json`, to which a test holds the files.
"""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent
SUMS = "vendored.json"


class Vendored(NamedTuple):
    """A package of npm, its version, and which of its files are copied under which names."""

    package: str
    version: str
    folder: Path
    files: dict[str, str]


VENDORED = (
    Vendored("htmx.org", "4.0.1", ROOT / "assets", {"dist/htmx.min.js": "htmx.min.js", "LICENSE": "htmx.LICENSE"}),
    Vendored(
        "uplot",
        "1.6.32",
        ROOT / "assets",
        {
            "dist/uPlot.iife.min.js": "uplot.min.js",
            "dist/uPlot.min.css": "uplot.min.css",
            "LICENSE": "uplot.LICENSE",
        },
    ),
    Vendored(
        "axe-core",
        "4.14.1",
        ROOT.parents[1] / "tests" / "data" / "axe",
        {"axe.min.js": "axe.min.js", "LICENSE": "axe.LICENSE"},
    ),
)


def sums(folder: Path, names: list[str]) -> dict[str, str]:
    """The SHA-256 of files in a folder."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in sorted(names)}


def copy(vendored: Vendored) -> None:
    """Fetch a package by npm and copy its files."""
    with tempfile.TemporaryDirectory() as scratch:
        subject = f"{vendored.package}@{vendored.version}"
        subprocess.run(["npm", "pack", "--silent", subject], cwd=scratch, check=True, stdout=subprocess.DEVNULL)
        [archive] = Path(scratch).glob("*.tgz")
        with tarfile.open(archive) as tar:
            for source, name in vendored.files.items():
                member = tar.extractfile(f"package/{source}")
                if member is None:
                    raise SystemExit(f"{subject} has no {source}")
                (vendored.folder / name).write_bytes(member.read())


def main() -> int:
    """Copy everything, and write the digests of what was copied."""
    for vendored in VENDORED:
        copy(vendored)
    for folder in {vendored.folder for vendored in VENDORED}:
        names = [name for vendored in VENDORED if vendored.folder == folder for name in vendored.files.values()]
        (folder / SUMS).write_text(json.dumps(sums(folder, names), indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
