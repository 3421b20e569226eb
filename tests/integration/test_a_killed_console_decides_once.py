"""A console that is killed between a click and its answer has decided or not; done again, it is decided once."""

import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from shared.ids import StudyKey
from shared.web.people import People
from site_node.home.folder import SiteHome
from site_node.home.ledger import State
from tests.factories.consoles import PASSPHRASE
from tests.factories.ports import free_port
from tests.factories.site_consoles import add_burned, site_console

COMMAND = [sys.executable, "-c", "from site_node.cli import main; main()"]
LONGEST = 0.06  # seconds after the click; an answer takes some 20 ms


@contextmanager
def console(home: SiteHome) -> Iterator[subprocess.Popen[str]]:
    command = [*COMMAND, "--home", str(home.folder), "console"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready")
        try:
            yield process
        finally:
            process.kill()


def field(page: str, name: str) -> str:
    match = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert match is not None, page
    return match[1]


def decide(client: httpx.Client, key: StudyKey) -> int:
    """Release a study as a person at its page does; the answer's status."""
    page = client.get(f"/review/{key}")
    if page.status_code != 200:
        return page.status_code
    fields = {"csrf": field(page.text, "csrf"), "seen": field(page.text, "seen"), "reason": "seen by me"}
    return client.post(f"/review/{key}/release", data=fields).status_code


@pytest.mark.parametrize("kills", [pytest.param(3, id="some"), pytest.param(50, id="many", marks=pytest.mark.soak)])
def test_a_killed_console_decides_once(tmp_path: Path, kills: int) -> None:
    """Nothing is lost, nothing is doubled, and the person stays signed in."""
    draw = random.Random(17)
    with site_console(tmp_path / "home") as site:
        home, ledger, port = site.home, site.ledger, free_port()
        home.settings_file.write_text(home.settings_file.read_text() + f"\n[console]\nport = {port}\n")
        keys = [add_burned(home, ledger, f"burned-{n}") for n in range(kills)]
        link = f"/invitation/{People(site.store).invite('Ann', 'reviewer')}"
        address = f"http://127.0.0.1:{port}"
        with closing(httpx.Client(base_url=address, headers={"Origin": address})) as client:
            for number, key in enumerate(keys):
                with console(home) as process:
                    if number == 0:
                        csrf = field(client.get(link).text, "csrf")
                        client.post(link, data={"csrf": csrf, "passphrase": PASSPHRASE, "again": PASSPHRASE})
                    threading.Timer(draw.uniform(0, LONGEST), process.send_signal, [signal.SIGKILL]).start()
                    with suppress(httpx.TransportError):
                        decide(client, key)
                    process.wait(10)
                decided = [event for event in ledger.events() if event.key == key]
                assert len(decided) == (ledger.study(key).state is State.RECEIVED)
            with console(home):
                assert {decide(client, key) for key in keys} <= {303, 409}
        assert [ledger.study(key).state for key in keys] == [State.RECEIVED] * kills
        assert sorted(event.key for event in ledger.events()) == sorted(keys)
