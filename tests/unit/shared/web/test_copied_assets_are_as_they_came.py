"""What others wrote and pages name is as npm has it, byte for byte, with its licence."""

import json
import re
from pathlib import Path

from shared.web.renew_assets import SUMS, VENDORED, sums

WEB = Path(__file__).parents[4] / "shared" / "web"


def test_copied_assets_are_as_they_came() -> None:
    """Each file has the SHA-256 that was written when it was copied, and each package its licence."""
    for folder in {vendored.folder for vendored in VENDORED}:
        noted = json.loads((folder / SUMS).read_text())
        assert sums(folder, list(noted)) == noted
        names = {name for vendored in VENDORED if vendored.folder == folder for name in vendored.files.values()}
        assert set(noted) == names
    assert all(any(name.endswith("LICENSE") for name in vendored.files.values()) for vendored in VENDORED)


def test_pages_name_only_our_own_files() -> None:
    """No template runs a script or has a style of its own, or names another machine; what it names is there."""
    for template in WEB.glob("templates/*.html"):
        text = template.read_text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script>|//[a-z]|javascript:|\|\s*safe", text), template.name
        for name in re.findall(r"/assets/([\w.]+)", text):
            assert (WEB / "assets" / name).exists()
