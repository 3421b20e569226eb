"""Only an edition that can be meant is accepted, by a name that means one."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from coordinator.editions.service import EditionService
from coordinator.home.identity import Identity
from coordinator.store.sql import SqlStore, open_store
from shared.crypto.pki import make_ca
from shared.crypto.signing import SigningKey
from shared.editions import ProtocolEdition
from shared.errors.base import RicordError
from shared.errors.inputs import InvalidArgument, InvalidIdentifier, NotFound
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
    return EditionService(store, identity, lambda: NOW)


@pytest.fixture
def editions(tmp_path: Path) -> Iterator[EditionService]:
    """A coordinator that was upgraded once."""
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    for installed in (OLD, NEW):
        service(store, installed).note_installed()
    yield service(store, NEW)
    store.close()


@pytest.mark.parametrize(
    ("reference", "edition", "until", "error"),
    [
        ("2026.9", "", UNTIL, NotFound),
        ("", "", UNTIL, NotFound),
        ("c" * 64, "", UNTIL, NotFound),
        ("c" * 63, "2026.9", UNTIL, InvalidIdentifier),
        ("c" * 64, "last year's", UNTIL, InvalidArgument),
        ("2027.3", "", UNTIL, InvalidArgument),
        ("2026.11", "", NOW + timedelta(days=365 * 11), InvalidArgument),
    ],
)
def test_what_cannot_be_meant_is_refused(
    editions: EditionService, reference: str, edition: str, until: datetime, error: type[RicordError]
) -> None:
    """An unknown one, a damaged digest, the one installed, a date that is a slip; then nothing is changed."""
    before = editions.editions()
    with pytest.raises(error):
        editions.accept(reference, until, edition=edition, actor="operator")
    assert editions.editions() == before


def test_an_edition_that_was_never_installed_here_is_named(editions: EditionService) -> None:
    """A coordinator founded later than a site's edition accepts it by its whole digest and a name."""
    editions.accept("c" * 64, UNTIL, edition="2026.9", actor="operator")
    assert [row.edition for row in editions.editions() if row.accepted_until] == ["2026.9"]
    editions.accept("d" * 64, UNTIL, edition="2026.9", actor="operator")
    with pytest.raises(InvalidArgument, match="2 are named so"):
        editions.accept("2026.9", UNTIL, actor="operator")
