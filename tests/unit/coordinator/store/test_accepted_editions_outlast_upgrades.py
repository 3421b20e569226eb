"""Which editions are accepted is noted once, audited at each change, and kept over restarts, in both databases."""

from datetime import UTC, datetime, timedelta

from coordinator.editions.service import EditionService
from coordinator.home.identity import Identity
from coordinator.store.sql import SqlStore, open_store
from shared.crypto.pki import make_ca
from shared.crypto.signing import SigningKey
from shared.editions import ProtocolEdition
from shared.ids import Sha256
from shared.token import Addresses

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
OLD, NEW = (
    ProtocolEdition(protocol="ricord", edition=name, digest=Sha256(digit * 64))
    for name, digit in (("2026.11", "a"), ("2027.3", "b"))
)
UNTIL = NOW + timedelta(days=90)


def service(store: SqlStore, installed: ProtocolEdition) -> EditionService:
    identity = Identity(
        federation="test",
        addresses=Addresses(enrolment="a:1", main="a:2"),
        authority=make_ca("test"),
        signing_key=SigningKey.generate(),
        protocol=installed,
    )
    return EditionService(store, identity, lambda: NOW if installed == OLD else NOW + timedelta(days=30))


def test_what_is_accepted_outlasts_restarts_and_upgrades(url: str) -> None:
    """Each edition is noted at its first start and no other; one that is accepted stays so until its date."""
    for installed in (OLD, OLD, NEW):
        store = open_store(url)
        service(store, installed).note_installed()
        if installed == NEW:
            service(store, NEW).accept("2026.11", UNTIL, actor="operator")
        store.close()
    store = open_store(url)
    kept = service(store, NEW).editions()
    assert [(row.edition, row.digest, row.accepted_until) for row in kept] == [
        (OLD.edition, OLD.digest, UNTIL),
        (NEW.edition, NEW.digest, None),
    ]
    service(store, NEW).accept(OLD.digest[:8], NOW - timedelta(days=1), actor="operator")
    assert service(store, NEW).editions()[0].accepted_until == NOW - timedelta(days=1)
    with store.read() as reading:
        events = [(event.action, event.object) for event in reading.events()]
        assert reading.edition(NEW.digest) == kept[1]
    assert events == [
        ("edition 2026.11 of the protocol installed", OLD.digest),
        ("edition 2027.3 of the protocol installed", NEW.digest),
        ("edition 2026.11 of the protocol accepted until 2027-04-01T12:00:00Z", OLD.digest),
        ("edition 2026.11 of the protocol accepted until 2026-12-31T12:00:00Z", OLD.digest),
    ]
    store.close()
