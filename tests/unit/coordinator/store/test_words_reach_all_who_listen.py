"""A word reaches every process that shares the store and listens, and is lost on all others."""

import queue
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from coordinator.store.signals import LONGEST, MISSED
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
