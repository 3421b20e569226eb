"""A day's question asks for every receipt that is not proven yet, a few at once, and again for some that are."""

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.audit.service import MOST_NUMBERS
from shared.audit_head import AuditHead
from shared.crypto.signing import SigningKey
from shared.errors.trust import AuditBroken, AuditContradicted
from shared.ids import Sha256
from shared.signed import Signed
from site_node.home.folder import SiteHome
from site_node.membership import proof
from site_node.membership.witness import Contradiction, Witness, Witnessed

KEY = SigningKey.generate()
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HEAD = AuditHead(federation="test-federation", size=9, root=Sha256("0" * 64), signed_at=NOW)
MEMBERSHIP: Any = SimpleNamespace(coordinator_key=KEY.public, federation="test-federation")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[Path]]:
    """The receipts of each request to a coordinator that proves everything, three at once and two again."""
    requests = list[list[Path]]()

    def prove(_: object, __: Witness, ___: object, paths: Sequence[Path], ____: datetime) -> Signed:
        requests.append([*paths])
        return Signed.by(KEY, HEAD)

    changes = {"member_of": Mock(), "member_channel": lambda _: nullcontext(), "AuditServiceStub": Mock()}
    for name, change in {**changes, "_proven_head": prove, "_AT_ONCE": 3, "_AGAIN": 2}.items():
        monkeypatch.setattr(proof, name, change)
    return requests


def home_with(folder: Path, unproven: int, proven: int) -> SiteHome:
    home = SiteHome(folder)
    home.receipts.mkdir(parents=True)
    paths = [home.receipts / f"{number:02}.json" for number in range(proven + unproven)]
    for path in paths:
        path.write_text("{}")
    Witness(home).keep(Signed.by(KEY, HEAD), NOW, paths[:proven])
    return home


@given(unproven=st.integers(0, 8), proven=st.integers(0, 4))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_is_asked_for_once(
    tmp_path_factory: pytest.TempPathFactory, asked: list[list[Path]], unproven: int, proven: int
) -> None:
    """With the last request some of those that were proven before; then all are, and the head is today's."""
    home = home_with(tmp_path_factory.mktemp("home"), unproven, proven)
    new, old = Witness(home).receipts()
    asked.clear()
    assert proof.ask(home, MEMBERSHIP, NOW + timedelta(1)) == HEAD
    *batches, again = asked
    assert [path for batch in batches for path in batch] == new
    assert all(0 < len(batch) <= 3 for batch in batches)
    assert len({*again}) == len(again) == min(2, proven)
    assert {*again} <= {*old}
    assert Witness(home).receipts() == ([], sorted([*new, *old]))
    kept = Witness(home).witnessed()
    assert kept is not None
    assert kept.proven_at == NOW + timedelta(1)


def test_no_request_is_larger_than_a_coordinator_answers() -> None:
    """Neither of what was not proven yet nor of what was."""
    assert {proof._AT_ONCE, proof._AGAIN} == {MOST_NUMBERS}


def test_nothing_is_asked_while_sending_is_stopped(tmp_path: Path, asked: list[list[Path]]) -> None:
    """A person decides first."""
    home = home_with(tmp_path, 1, 0)
    Witness(home).stop(Contradiction(problem="it ends", seen_at=NOW))
    with pytest.raises(AuditContradicted):
        proof.ask(home, MEMBERSHIP, NOW)
    assert not asked


def test_a_log_that_says_itself_that_it_is_broken_stops_the_sending(
    tmp_path: Path, asked: list[list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the entry that it names."""
    assert not asked
    home = home_with(tmp_path, 1, 0)
    monkeypatch.setattr(proof, "_proven_head", Mock(side_effect=AuditBroken(number="7")))
    with pytest.raises(AuditContradicted, match="entry 7"):
        proof.ask(home, MEMBERSHIP, NOW)
    with pytest.raises(AuditContradicted, match="entry 7"):
        Witness(home).check()


def test_what_is_witnessed_is_its_owners(tmp_path: Path) -> None:
    """No other user of the machine reads it, also after sending was resumed."""
    home = home_with(tmp_path, 1, 1)
    witness = Witness(home)
    assert {path.stat().st_mode & 0o777 for path in home.witness.iterdir()} == {0o600}
    for problem in ("first", "second"):  # also where there is no head, for none was proven since
        witness.stop(Contradiction(problem=problem, seen_at=NOW))
        witness.resume()
    witness.keep(Signed.by(KEY, HEAD), NOW, [])
    assert home.witness.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in home.witness.iterdir()} == {0o600}


def test_a_proof_is_late_after_a_week() -> None:
    """Not at its last moment."""
    kept = Witnessed(head=Signed.by(KEY, HEAD), proven_at=NOW)
    assert not kept.is_late(NOW + timedelta(7))
    assert kept.is_late(NOW + timedelta(7, seconds=1))
