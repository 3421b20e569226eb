"""A reading that is killed between a read and its answer has the read or not; sent again, it has it once."""

import random
import signal
import threading
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest

from coordinator.curation.reading.labels import reads_of
from tests.factories.consoles import PASSPHRASE
from tests.factories.ports import free_port
from tests.factories.programs import process
from tests.factories.reading import film_of, invite, reading_room
from tests.integration.test_a_killed_console_decides_once import field

LONGEST = 0.06  # seconds after the read was sent; an answer takes some 30 ms


@pytest.mark.parametrize("kills", [pytest.param(4, id="some"), pytest.param(50, id="many", marks=pytest.mark.soak)])
def test_a_killed_reading_keeps_each_read_once(tmp_path: Path, kills: int) -> None:
    """No read is lost or doubled, the log is whole, and the reader stays signed in."""
    draw, port = random.Random(3), free_port()
    (tmp_path / "curator.toml").write_text(f'protocol = "ricord"\n[reading]\nport = {port}\n')
    address = f"http://127.0.0.1:{port}"
    with (
        reading_room(tmp_path, kills, film=lambda number: film_of(number, shape=(16, 16))) as room,
        closing(httpx.Client(base_url=address, headers={"Origin": address})) as client,
    ):
        reader = room.desk.reader("reader 0")
        names = room.desk.left(reader)
        link = invite(tmp_path, "reader 0", "reader").removeprefix(address)
        for number, name in enumerate(names):
            with process("coordinator.cli", tmp_path, "curate", "reading", "serve", ready="ready") as serving:
                if number == 0:
                    csrf = field(client.get(link).text, "csrf")
                    client.post(link, data={"csrf": csrf, "passphrase": PASSPHRASE, "again": PASSPHRASE})
                answers = {"csrf": field(client.get(f"/studies/{name}").text, "csrf"), "appearance": "negative"}
                threading.Timer(draw.uniform(0, LONGEST), serving.send_signal, [signal.SIGKILL]).start()
                with suppress(httpx.TransportError):
                    client.post(f"/studies/{name}", data=answers)
                serving.wait(10)
        assert {*room.desk.left(reader), *room.desk.submitted(reader)} == set(names)
        with process("coordinator.cli", tmp_path, "curate", "reading", "serve", ready="ready"):
            for name in names:
                answers = {"csrf": field(client.get(f"/studies/{name}").text, "csrf"), "appearance": "negative"}
                assert client.post(f"/studies/{name}", data=answers).status_code == 303
        with room.register.reading() as reading:
            assert [len(reads_of(reading, case).numbers) for case in reading.cases()] == [1] * kills
            assert reading.db.execute("select count(*) from reads").fetchone() == (kills,)
            assert reading.verified().intact
