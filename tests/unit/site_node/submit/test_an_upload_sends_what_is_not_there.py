"""An upload sends what the coordinator does not hold, and each study once."""

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors.trust import AuditContradicted, ReceiptInvalid
from shared.signed import Signed
from shared.wire import UNACKNOWLEDGED
from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from site_node.membership.witness import Contradiction, Witness
from site_node.submit.client import UploadClient, _parts, submit, submitting
from site_node.submit.pace import Pace
from site_node.submit.window import Window
from tests.factories.federation import Federation, running_federation, sealed_bytes

DOCUMENT = Signed(document="{}", signature="c2ln")


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


@pytest.fixture(scope="module")
def member(federation: Federation) -> tuple[SiteHome, Membership]:
    return federation.site("Hospital")


@given(data=st.binary(max_size=5000), offset=st.integers(0, 5000), chunk=st.integers(1024, 3000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_rest_goes_in_pieces_at_the_pace(tmp_path: Path, data: bytes, offset: int, chunk: int) -> None:
    """First the manifest with the offset, then all bytes from it on, of which each piece has waited for its turn."""
    (tmp_path / "study.age").write_bytes(data)
    pace = Mock(spec=Pace, chunk=chunk)
    header, *parts = _parts(DOCUMENT, tmp_path / "study.age", offset, pace, Window(offset))
    assert header.header.offset == offset
    assert b"".join(part.chunk for part in parts) == data[offset:]
    assert [call.args for call in pace.wait.call_args_list] == [(len(part.chunk),) for part in parts]
    assert all(len(part.chunk) <= chunk for part in parts)


def test_nothing_goes_once_the_call_has_ended(tmp_path: Path) -> None:
    """Whatever is left of the study."""
    (tmp_path / "study.age").write_bytes(bytes(5000))
    window = Window(0)
    parts = _parts(DOCUMENT, tmp_path / "study.age", 0, Mock(spec=Pace, chunk=1024), window)
    assert [len(next(parts).chunk) for _ in range(3)] == [0, 1024, 1024]
    window.end()
    assert not list(parts)


def test_a_long_study_waits_for_what_is_durable(member: tuple[SiteHome, Membership]) -> None:
    """More than may be under way at once goes, since the coordinator says how far it is."""
    with submitting(*member) as send:
        assert send(sealed_bytes(*member, UNACKNOWLEDGED + (3 << 20))).receipt.exists()


def test_a_study_that_has_its_receipt_is_not_sent(member: tuple[SiteHome, Membership]) -> None:
    """Its files leave the outbox, again where a kill left them there."""
    sealed = sealed_bytes(*member, 9)
    data = sealed.ciphertext.read_bytes()
    with submitting(*member) as send:
        first = send(sealed)
        for _ in range(2):
            assert not any(path.exists() for path in sealed.files)
            sealed.ciphertext.write_bytes(data)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(UploadClient, "upload", Mock(side_effect=AssertionError("it is sent again")))
                assert send(sealed) == first


def test_no_study_leaves_without_its_receipt(member: tuple[SiteHome, Membership]) -> None:
    """What is refused stays in the outbox."""
    sealed, receipts = sealed_bytes(*member, 9), Mock()
    receipts.kept.return_value, receipts.keep.side_effect = None, ReceiptInvalid(problem="it lies")
    with pytest.raises(ReceiptInvalid):
        submit(sealed, Mock(), receipts)
    assert sealed.ciphertext.exists()


def test_a_contradiction_stops_each_study(federation: Federation) -> None:
    """Also one that is seen after the connection was made."""
    home, membership = federation.site("Witness Hospital")
    sealed = sealed_bytes(home, membership, 9)
    with submitting(home, membership) as send:
        Witness(home).stop(Contradiction(problem="it ends", seen_at=membership.executed_at))
        with pytest.raises(AuditContradicted):
            send(sealed)
    assert sealed.ciphertext.exists()
