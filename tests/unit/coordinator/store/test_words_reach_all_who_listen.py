"""A word reaches every process that shares the store and listens, and is lost on all others."""

import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from sqlalchemy import Engine, create_engine, text

from coordinator.store import signals
from coordinator.store.signals import LONGEST, MISSED, DatabaseSignals, FolderSignals
from coordinator.store.sql import SqlStore, open_store

SECONDS = 20
SAY = """
import sys
from coordinator.store.sql import open_store
open_store(sys.argv[1]).signals.send("from afar")
"""
LISTEN = """
import sys, time
from coordinator.store.sql import open_store
with open_store(sys.argv[1]).signals.listening(print):
    print("listens", flush=True)
    time.sleep(600)
"""


def test_every_listener_hears_a_word_of_another_process(store: SqlStore, url: str) -> None:
    """Two stores of this process and a sender in another one; before and after, nothing is heard."""
    other, first, second = open_store(url), queue.Queue[str](), queue.Queue[str]()
    store.signals.send("too early")
    with store.signals.listening(first.put), other.signals.listening(second.put):
        subprocess.run([sys.executable, "-c", SAY, url], check=True)
        assert first.get(timeout=SECONDS) == second.get(timeout=SECONDS) == "from afar"
        store.signals.send("é" * (LONGEST // 2))
        assert first.get(timeout=SECONDS) == second.get(timeout=SECONDS) == "é" * (LONGEST // 2)
    store.signals.send("too late")
    assert first.empty()
    assert second.empty()
    other.close()


def test_a_killed_listener_is_in_nobodys_way(store: SqlStore, url: str) -> None:
    """SIGKILL leaves its socket behind; the next word still reaches the others, and removes it."""
    heard = queue.Queue[str]()
    with subprocess.Popen([sys.executable, "-c", LISTEN, url], stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "listens\n"
        listener.kill()
    with store.signals.listening(heard.put):
        store.signals.send("word")
        assert heard.get(timeout=SECONDS) == "word"
    assert not list(Path(f"{url.removeprefix('sqlite:///')}.signals").glob("*"))


def test_a_line_that_was_cut_says_that_words_may_be_missing(store: SqlStore, url: str) -> None:
    """The database ends every session: the listener comes back by itself and says so."""
    if not store.is_shared:
        pytest.skip("sockets of one host have no line to cut")
    heard, comes_back = list[str](), threading.Event()

    def note(word: str) -> None:
        heard.append(word)
        comes_back.set()

    engine = create_engine(url)
    with store.signals.listening(note):
        with engine.begin() as connection:
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
            )
        assert comes_back.wait(SECONDS)
        store.signals.send("word")
        while "word" not in heard:
            comes_back.clear()
            assert comes_back.wait(SECONDS)
    assert heard == [MISSED, "word"]
    engine.dispose()


def test_a_listener_ends_with_its_block(store: SqlStore) -> None:
    """No thread and no socket of it is left, whoever removed that; the folder of sockets is for its owner only."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(2):
        with store.signals.listening(lambda word: None):
            for socket in sockets(store):
                assert socket.parent.stat().st_mode & 0o777 == 0o700
                socket.unlink()
        assert "signals" not in {thread.name for thread in threading.enumerate()}
    with store.signals.listening(lambda word: None):
        pass
    assert sockets(store) == []
    if not store.is_shared:
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def sockets(store: SqlStore) -> list[Path]:
    """Those of who listens on this host."""
    return [] if store.is_shared else list(Path(f"{store._engine.url.database}.signals").iterdir())


def test_who_does_not_read_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once as many words wait for it as the kernel keeps, further ones are given up, and others still hear them."""
    monkeypatch.setattr(signals, "_SECONDS", 0.01)
    heard, words = queue.Queue[str](), FolderSignals(tmp_path)

    def say() -> None:
        for number in range(30):
            words.send(str(number))

    with signals._datagrams() as deaf, words.listening(heard.put):
        deaf.bind(str(tmp_path / "0"))
        sender = threading.Thread(target=say, daemon=True)
        sender.start()
        assert [heard.get(timeout=SECONDS) for _ in range(30)] == [str(number) for number in range(30)]


def test_a_socket_that_goes_meanwhile_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a killed process, when another removes it first."""
    for name in ("a", "b"):
        with signals._datagrams() as killed:
            killed.bind(str(tmp_path / name))
    unlink = Path.unlink

    def twice(path: Path, *, missing_ok: bool = False) -> None:
        unlink(path, missing_ok=True)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", twice)
    FolderSignals(tmp_path).send("word")
    assert list(tmp_path.iterdir()) == []


def test_a_lost_line_is_tried_again_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at once, as long as there is none."""
    tries = list[None]()

    class Away:
        dialect = SimpleNamespace(loaded_dbapi=SimpleNamespace(Error=OSError))

        def raw_connection(self) -> None:
            tries.append(None)
            raise OSError

    monkeypatch.setattr(signals, "_SECONDS", 0.1)
    with DatabaseSignals(cast("Engine", Away())).listening(lambda word: None):
        time.sleep(0.25)
    assert 2 <= len(tries) <= 4
