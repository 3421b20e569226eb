"""Which lines a change touches, as git knows them."""

import re
import subprocess
from collections import defaultdict

from tests.mutants.table import ROOT


def touched_lines() -> dict[str, set[int]] | None:
    """The lines of each changed Python file, by its path; `None` where git has nothing to compare with.

    Compared with where the branch left the main one, else with the newest tag, else with the commit before.
    """
    head = _git("rev-parse", "HEAD")
    for base in (
        _git("merge-base", "HEAD", "origin/main"),
        _git("merge-base", "HEAD", "main"),
        _git("describe", "--tags", "--abbrev=0", "HEAD^"),
        _git("rev-parse", "--verify", "HEAD^"),
    ):
        if base and base != head:
            return _lines_of(_git("diff", "--unified=0", "--no-renames", base, "--", "*.py"))
    return None


def _lines_of(difference: str) -> dict[str, set[int]]:
    lines = defaultdict[str, set[int]](set)
    path = ""
    for line in difference.splitlines():
        if line.startswith("+++ "):
            path = line.removeprefix("+++ b/")
        elif hunk := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line):
            first, count = int(hunk[1]), int(hunk[2] or 1)
            lines[path].update(range(first, first + count))
    return lines


def _git(*arguments: str) -> str:
    """What git prints; empty where it fails or there is no repository."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
