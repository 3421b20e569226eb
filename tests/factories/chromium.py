"""Debian's Chromium, driven by Playwright, and a page that notes what it asked for and what it complained of."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

from tests.peers import needs_peer

AXE = Path(__file__).parents[1] / "data" / "axe" / "axe.min.js"
WIDE, HALF = {"width": 1280, "height": 900}, {"width": 640, "height": 450}  # the latter: a zoom of 200 %


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, without a window; where it is not installed the test skips."""
    path = needs_peer("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page of a new person's browser. `complaints` are its console's messages, reports of the policy among them."""

    def __init__(
        self, browser: Browser, address: str, *, scripts: bool = True, dark: bool = False, touch: bool = False
    ) -> None:
        scheme = "dark" if dark else "light"
        kinds = {"java_script_enabled": scripts, "has_touch": touch}
        context = browser.new_context(viewport=WIDE, color_scheme=scheme, **kinds)  # type: ignore[arg-type] # as documented
        context.set_default_timeout(10_000)
        self.page: Page = context.new_page()
        self.address = address
        self.complaints = list[str]()
        self.asked = set[str]()
        self.bytes = 0
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.add(urlsplit(request.url).netloc))

    def open(self, path: str) -> Page:
        """Go to a page."""
        answer = self.page.goto(self.address + path)
        assert answer is not None
        assert answer.ok, (path, answer.status)
        return self.page

    def join(self, link: str, passphrase: str) -> None:
        """Use an invitation's link."""
        self.page.goto(link)
        self.page.fill("#passphrase", passphrase)
        self.page.fill("#again", passphrase)
        self.page.click("text=Join")
        self.page.wait_for_selector("text=Sign out")

    def check(self, name: str) -> None:
        """Hold the page to what every page keeps: for all eyes, at each zoom, without a complaint; keep a picture."""
        self.picture(name)
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        result: dict[str, Any] = self.page.evaluate("axe.run(document)")
        grave = [each for each in result["violations"] if each["impact"] in {"serious", "critical"}]
        assert not grave, (name, json.dumps(grave, indent=1)[:4000])
        self.page.set_viewport_size(HALF)  # type: ignore[arg-type] # two numbers
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        self.picture(f"{name}-200")
        self.page.set_viewport_size(WIDE)  # type: ignore[arg-type] # two numbers
        assert wide <= 0, f"{name} is {wide} pixels too wide at 200 %"
        assert not self.complaints, (name, self.complaints)
        assert self.asked <= {urlsplit(self.address).netloc}

    def picture(self, name: str) -> None:
        """Keep a picture where `SCREENSHOTS` names a folder."""
        if folder := os.environ.get("SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
