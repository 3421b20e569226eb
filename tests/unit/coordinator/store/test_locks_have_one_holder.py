"""Of all who share a store one holds a lock, until its block, its process or its session ends."""

import re
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from sqlalchemy import create_engine, event, text

from coordinator.store.locks import Locks
from coordinator.store.sql import SqlStore, open_store

HOLD = """
import sys, time
from coordinator.store.sql import open_store
with open_store(sys.argv[1]).locks.holding("shared") as held:
    print(held, flush=True)
    time.sleep(600)
"""


def is_free(locks: Locks, name: str = "shared") -> bool:
    with locks.holding(name) as held:
        return held


def test_a_lock_has_one_holder(store: SqlStore, url: str) -> None:
    """Neither another thread, nor another store, nor the same one again holds it; other names are free."""
    other = open_store(url)
    with store.locks.holding("shared") as held:
        assert held
        assert store.locks.holds("shared")
        answers = list[bool]()
        thread = threading.Thread(target=lambda: answers.append(is_free(store.locks)))
        thread.start()
        thread.join()
        assert [is_free(store.locks), is_free(other.locks), *answers] == [False] * 3
        assert is_free(store.locks, "other")
        assert is_free(other.locks, "other")
        assert store.locks.holds("shared")
    assert is_free(other.locks)
    other.close()


def test_an_error_frees_it(store: SqlStore) -> None:
    with pytest.raises(KeyError), store.locks.holding("shared"):
        raise KeyError
    assert is_free(store.locks)


def test_a_kill_frees_it(store: SqlStore, url: str) -> None:
    """SIGKILL, which runs no `finally`."""
    with subprocess.Popen([sys.executable, "-c", HOLD, url], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "True\n"
            assert not is_free(store.locks)
        finally:
            holder.kill()
    latest = time.monotonic() + 20
    while not is_free(store.locks) and time.monotonic() < latest:
        time.sleep(0.05)
    assert is_free(store.locks)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_lost_host_holds_a_lock_for_half_a_minute_at_most(store: SqlStore, url: str) -> None:
    """The server is asked to look after so many idle seconds, and then so often, whether it still answers."""
    del url
    said = dict[str, int]()

    @event.listens_for(store._engine, "before_cursor_execute")
    def note(*arguments: Any) -> None:
        if (set_to := re.fullmatch(r"SET tcp_keepalives_(\w+) = (\d+)", arguments[2])) is not None:
            said[set_to[1]] = int(set_to[2])

    assert is_free(store.locks)
    assert said.keys() == {"idle", "interval", "count"}
    assert said["idle"] + said["interval"] * said["count"] <= 30


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_session_that_ended_has_lost_its_locks(store: SqlStore, url: str) -> None:
    """The holder learns so; another may hold the lock, and the next block starts a new session."""
    other = open_store(url)
    with store.locks.holding("shared"):
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            connection.execute(text(f"{others} AND datname = current_database()"))
        engine.dispose()
        assert not store.locks.holds("shared")
        with other.locks.holding("shared") as held:
            assert held
            assert not store.locks.holds("shared")
        with store.locks.holding("other") as held:
            assert held
            assert store.locks.holds("other")
    assert is_free(store.locks)
    other.close()
