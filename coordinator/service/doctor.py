"""An examination of the coordinator's home, beside `serve` or without it; nothing is changed."""

import shutil
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from grpc_health.v1 import health_pb2, health_pb2_grpc

from coordinator.audit.service import AuditService
from coordinator.home.authority import concerns
from coordinator.home.identity import Identity
from coordinator.home.init import open_ciphertexts, open_identity
from coordinator.home.settings import Home, Settings
from coordinator.service.engine_state import EngineFile, EngineState
from coordinator.service.supervisor import refuse_port_in_use
from coordinator.store.sql import SqlStore, open_unchanged
from shared.counts import counted
from shared.crypto import pki
from shared.crypto.keys import load_tls
from shared.errors.base import RicordError
from shared.errors.settings import ExtraMissing, KeyFileMissing, PortInUse
from shared.examination import Examined, Health, Result, examined
from shared.extras import ENGINE, require_extra
from shared.wire import Credentials, connected

_SKEW = timedelta(minutes=5)  # that a clock may be behind
_RESERVE = 1 << 30  # bytes that should be free for sealed studies
_PATIENCE_SECONDS = 5.0
_RECENT = timedelta(days=1)  # within which an end of the engine is said to be one
_UNKNOWN: Result = (Health.NOTE, "The database or a key, which it needs, cannot be read.")


def examine(home: Home, now: datetime) -> Iterator[Examined]:
    """Examine part after part; what depends on the settings is left out where they cannot be read."""
    settings = examined("settings", lambda: (Health.GOOD, f"{home.settings().federation}, in {home.settings_file}."))
    yield settings
    if settings.health is Health.PROBLEM:
        return
    examination = _Examination(home, home.settings(), now)
    try:
        for part, look in examination.parts().items():
            yield examined(part, look)
    finally:
        if examination.store is not None:
            examination.store.close()


@dataclass
class _Examination:
    """What is examined, each part by one method; a later one uses what an earlier one could read."""

    home: Home
    settings: Settings
    now: datetime
    identity: Identity | None = None
    store: SqlStore | None = None

    def parts(self) -> dict[str, Callable[[], Result]]:
        """The parts, in the order in which they depend on each other."""
        return {
            "keys": self.keys,
            "certificate authority": self.authority,
            "certificates": self.certificates,
            "database": self.database,
            "audit": self.audit,
            "clock": self.clock,
            "sealed studies": self.sealed_studies,
            "enrolment port": self.enrolment_port,
            "main port": self.main_port,
            "federated runs": self.federated_runs,
        }

    def keys(self) -> Result:
        """Every key is there, can be read, and by its owner only."""
        self.identity = open_identity(self.home, self.settings)
        for key in (self.home.server_key, self.home.operator_key):
            load_tls(key)
        return Health.GOOD, "All can be read, and by their owner only; keep a backup of `ca/` and `keys/`."

    def authority(self) -> Result:
        """The keys that sign certificates are encrypted, the root's is elsewhere, and the intermediate lasts."""
        if advice := concerns(self.home, self.now):
            return Health.NOTE, " ".join(advice)
        return Health.GOOD, "Its keys are encrypted, and the root's lies elsewhere."

    def certificates(self) -> Result:
        """No certificate is over, and those that `serve` renews are not overdue."""
        home = self.home
        files = {"root": home.root, "server": home.server_certificate, "operator": home.operator_certificate}
        pems = {name: _read(file) for name, file in files.items()}
        ends = {name: pki.expires_at(pem) for name, pem in pems.items()}
        dates = ", ".join(f"{name} until {end:%Y-%m-%d}" for name, end in ends.items())
        if over := [name for name, end in ends.items() if end <= self.now]:
            return (
                Health.PROBLEM,
                f"Expired: {', '.join(over)} ({dates}); `serve` renews all but the root when it starts.",
            )
        if any(self.now >= pki.renew_at(pem) for name, pem in pems.items() if name != "root"):
            return Health.NOTE, f"One is due for renewal ({dates}); `serve` does that each hour."
        return Health.GOOD, f"In time: {dates}."

    def database(self) -> Result:
        """The database answers, with the schema of this release."""
        url, password_file = self.home.database(self.settings), self.settings.database_password_file
        self.store = open_unchanged(url, password_file=password_file)
        return (
            Health.GOOD,
            f"{'PostgreSQL' if url.startswith('postgresql') else 'SQLite'} answers, with this release's schema.",
        )

    def audit(self) -> Result:
        """The log contains the head that was kept, and its newest events follow each other."""
        if self.store is None or self.identity is None:
            return _UNKNOWN
        size = AuditService(self.store, self.identity, self.home.audit_head).check_newest()
        return Health.GOOD, f"The newest of {counted(size, 'entry')} are in place; `audit verify` looks at all."

    def clock(self) -> Result:
        """The clock is not before what already happened here."""
        if self.store is None:
            return _UNKNOWN
        with self.store.read() as reading:
            size = reading.log_size()
            newest = [event.at for event in reading.events(after=max(size - 1, 0), limit=1)]
        if any(self.now + _SKEW < at for at in newest):
            happened = f"before {newest[0]:%Y-%m-%d %H:%M} UTC, when something was done here"
            return Health.PROBLEM, f"It says {self.now:%Y-%m-%d %H:%M} UTC, {happened}; set it, by NTP best."
        return Health.GOOD, f"It says {self.now:%Y-%m-%d %H:%M} UTC."

    def sealed_studies(self) -> Result:
        """Their folder can be written and has room, or their bucket answers."""
        if self.settings.store.bucket is not None:
            if self.store is None:
                return _UNKNOWN
            open_ciphertexts(self.home, self.settings, self.store.locks)
            return Health.GOOD, f"{self.settings.store.sealed} answers."
        blobs = self.home.blobs(self.settings)
        folder = next(path for path in (blobs, *blobs.parents) if path.exists())
        try:
            with tempfile.TemporaryFile(dir=folder):
                free = shutil.disk_usage(folder).free
        except OSError:
            return Health.PROBLEM, f"{folder} cannot be written; mend its owner, its mode or its disk."
        health = Health.PROBLEM if free < _RESERVE else Health.GOOD
        return health, f"{free >> 20} MB are free in {folder}{'; make room' if health is Health.PROBLEM else ''}."

    def enrolment_port(self) -> Result:
        """It answers newcomers, or is free."""
        return self._port(self.settings.addresses.enrolment, "enrolment_port", Credentials(_read(self.home.root)))

    def main_port(self) -> Result:
        """It answers the operator, or is free."""
        home = self.home
        credentials = Credentials(_read(home.root), home.operator_key, home.operator_certificate)
        return self._port(self.settings.addresses.main, "main_port", credentials)

    def federated_runs(self) -> Result:
        """The child process of `serve` answers, where federated runs are served."""
        try:
            require_extra("federation", *ENGINE, otherwise="")
        except ExtraMissing:
            return Health.NOTE, "The extra `federation` is not installed: `serve --no-federation` serves all else."
        engine = EngineFile(self.home.federation).read()
        if self._is_free("fleet_port", self.settings.fleet_port):
            return self._unserved(engine)
        host, _, port = self.settings.fleet_address.rpartition(":")
        context = ssl.create_default_context(cadata=_read(self.home.root).decode())
        try:
            with (
                socket.create_connection((host, int(port)), timeout=_PATIENCE_SECONDS) as line,
                context.wrap_socket(line, server_hostname=host),
            ):
                ended = engine.last_end_at if engine is not None else None
                health = Health.NOTE if ended is not None and self.now - ended < _RECENT else Health.GOOD
                about = f": {engine.words}" if engine is not None else ""
                return health, f"{self.settings.fleet_address} answers{about}."
        except OSError:
            about = f" As `serve` wrote: {engine.words}." if engine is not None else ""
            return Health.PROBLEM, _held(self.settings.fleet_address, self.settings.fleet_port) + about

    def _unserved(self, engine: EngineState | None) -> Result:
        """Nobody listens on the fleet port: a problem where `serve` runs and should have an engine that does."""
        port = self.settings.fleet_port
        if engine is None or self._is_free("main_port", self.settings.main_port):
            return Health.NOTE, f"Nobody serves port {port}; `serve` would, unless it runs with `--no-federation`."
        broken = engine.doing in {"ended", "serving"} or (engine.doing == "starting" and engine.restarts > 0)
        advice = "; the log of `serve` says why" if broken else ""
        return Health.PROBLEM if broken else Health.NOTE, f"Nobody serves port {port}: {engine.words}{advice}."

    def _port(self, address: str, key: str, credentials: Credentials) -> Result:
        try:
            with connected(address, credentials) as channel:
                request = health_pb2.HealthCheckRequest()
                health_pb2_grpc.HealthStub(channel).Check(request, timeout=_PATIENCE_SECONDS)
        except RicordError:
            port = int(address.rpartition(":")[2])
            if self._is_free(key, port):
                return Health.NOTE, f"Nobody serves port {port}; `serve` would."
            return Health.PROBLEM, _held(address, port)
        return Health.GOOD, f"{address} answers."

    def _is_free(self, key: str, port: int) -> bool:
        try:
            refuse_port_in_use(self.settings.host, port, key=key)
        except PortInUse:
            return False
        return True


def _held(address: str, port: int) -> str:
    """What is wrong with a port that is in use and does not answer as it should."""
    return (
        f"Port {port} is in use, and {address} does not answer as this coordinator: another program holds the port,"
        " or the name leads elsewhere (`advertised_host`)."
    )


def _read(certificate: Path) -> bytes:
    """A certificate; raises `KeyFileMissing`."""
    try:
        return certificate.read_bytes()
    except OSError as error:
        raise KeyFileMissing(type(error).__name__, file=str(certificate)) from error
