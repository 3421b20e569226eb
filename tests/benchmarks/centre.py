"""What a study and a site cost the centre, on each database: `python -m tests.benchmarks.centre`.

The table of ARCHITECTURE.md, "How large it may grow", is made of these figures.
"""

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import text

from coordinator.federation.interface import FEDERATED
from coordinator.federation.registry import StoredNodes
from coordinator.home.init import open_home_store
from coordinator.presence.service import PresenceService
from coordinator.store.folder import CiphertextFolder
from coordinator.store.records import Node
from coordinator.store.sql import SqlStore
from coordinator.submission.service import SubmissionService
from shared.crypto.signing import SigningKey
from shared.ids import Sha256, SiteId
from shared.signed import of_manifest
from tests.factories.federation import running_federation, sealed_bytes
from tests.factories.registered import add_site
from tests.peers import empty_database, postgres_url

ROWS = 20_000
STUDIES, STUDY_BYTES = 200, 100_000
REPORTS = 2_000
AT_ONCE = 8
NODES = 200
COUNTS = ("received", "waiting", "quarantined", "excluded", "refused", "submitted", "queued", "free_bytes")
REPORT = {"version": "0.1.0", "certificate_ends_at": datetime(2030, 1, 1, tzinfo=UTC), **dict.fromkeys(COUNTS, 9**9)}


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """The settings' `database` of each kind."""
    with postgres_url() as server:
        yield {"sqlite": "", "postgresql": empty_database(server)}


def size(store: SqlStore) -> int:
    """Bytes of the database, with its indexes."""
    with store._engine.connect() as connection:
        if store.is_shared:
            return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
        pages, each = (connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in ("page_count", "page_size"))
        return int(pages) * int(each)


def rate(count: int, work: Callable[[int], object]) -> float:
    """How often a second `work` is done by eight threads."""
    start = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(work, range(count)))
    return count / (time.perf_counter() - start)


def seconds_to_ask_who_takes_part(store: SqlStore) -> float:
    """For each node; the federation asks at every tick and message."""
    for number in range(NODES):
        site_id, key = SiteId(f"{500000 + number}"), SigningKey.generate()
        add_site(store, key, site_id, key)
        public = ec.generate_private_key(ec.SECP384R1()).public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        with store.begin() as work:
            work.put_node(Node(site_id=site_id, public_key=pem, registered_at=datetime.now(UTC)))
    start = time.perf_counter()
    assert len(StoredNodes(store).nodes(FEDERATED)) == NODES
    return (time.perf_counter() - start) / NODES


def measure(kind: str, database: str, folder: Path) -> None:
    """Print the figures of one database."""
    with running_federation(folder, database=database) as federation:
        federation.curator()
        site, member = federation.site("Measured Hospital")
        store = open_home_store(federation.home, federation.settings)
        service = SubmissionService(store, CiphertextFolder(folder / "ciphertexts"), federation.identity)
        sealed = [sealed_bytes(site, member, STUDY_BYTES, sequence=number + 1) for number in range(STUDIES)]

        def receive(number: int) -> None:
            study = sealed[number]
            data = study.ciphertext.read_bytes()
            list(service.receive(member.site_id, of_manifest(study.manifest), 0, [data]))

        received = rate(STUDIES, receive)
        with store.read() as reading:
            row, events = reading.submissions(limit=1)[0], reading.log_size()
        presences = PresenceService(store)
        reported = rate(REPORTS, lambda number: presences.report(SiteId(f"{400000 + number}"), REPORT))
        asked = seconds_to_ask_who_takes_part(store)
        before = size(store)
        with store.begin() as work:
            for _ in range(ROWS):
                work.append_event(at=row.received_at, actor=f"spiffe://f/site/{row.site_id}", action="a", about=row.id)
        with_events = size(store)
        with store.begin() as work:
            for number in range(ROWS):
                name = Sha256(f"{number:064x}")
                work.add_submission(
                    row.model_copy(update={"id": name, "contents_sha256": name, "number": 9**9 + number})
                )
        with_rows = size(store)
        sys.stdout.write(
            f"{kind}: {received:.0f} studies of 100 kB a second, {reported:.0f} heartbeats a second; "
            f"{(with_events - before) / ROWS:.0f} bytes an event, "
            f"{(with_rows - with_events) / ROWS:.0f} bytes a study's row; "
            f"{events} events after {STUDIES} studies; {asked * 1e6:.0f} us a node to ask who takes part\n"
        )
        store.close()


if __name__ == "__main__":
    with databases() as urls, TemporaryDirectory() as where:
        for name, url in urls.items():
            measure(name, url, Path(where) / name)
