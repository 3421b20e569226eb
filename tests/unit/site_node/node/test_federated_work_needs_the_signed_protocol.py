"""Federated work needs the edition that was signed, and an audit log that contradicts nothing."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from shared.agreement import AgreementTerms
from shared.errors.protocol import EditionNotCovered
from shared.errors.transport import CoordinatorUnreachable
from shared.errors.trust import AuditContradicted
from shared.ids import Sha256
from shared.protocol.loader import load_protocol
from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from site_node.membership.witness import Contradiction, Witness
from site_node.node import federation
from site_node.node.federation import answer_messages
from tests.factories.pipeline import make_home


def test_federated_work_needs_the_protocol_that_was_signed(tmp_path: Path) -> None:
    """Under an edition that the agreement does not cover nothing is registered and nothing connected."""
    signed: dict[str, Any] = {"protocol": "ricord", "protocol_digest": Sha256("b" * 64)}
    member: dict[str, Any] = {"terms": AgreementTerms.model_construct(**signed)}
    membership = Membership.model_construct(**member)  # no address: it would fail to connect with another error
    with pytest.raises(EditionNotCovered) as caught:
        answer_messages(SiteHome(tmp_path), membership, "ricord", threading.Event(), once=True)
    assert caught.value.fields == {"edition": load_protocol("ricord").edition, "protocol": "ricord"}
    assert not list(tmp_path.iterdir())


def test_federated_work_does_not_begin_while_the_audit_log_is_contradicted(tmp_path: Path) -> None:
    """Nothing is registered and nothing connected; what comes to work under way is refused by the executor."""
    terms: dict[str, Any] = {"protocol": "ricord", "protocol_digest": load_protocol().digest, "editions": None}
    member: dict[str, Any] = {"terms": AgreementTerms.model_construct(**terms)}
    home = SiteHome(tmp_path)
    Witness(home).stop(Contradiction(problem="it was cut", seen_at=datetime.now(UTC)))
    with pytest.raises(AuditContradicted, match="it was cut"):
        answer_messages(home, Membership.model_construct(**member), "ricord", threading.Event(), once=True)


def test_what_was_withdrawn_leaves_the_library_before_anybody_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that was killed may have left it."""
    terms: dict[str, Any] = {"protocol": "ricord", "protocol_digest": load_protocol().digest, "editions": None}
    member: dict[str, Any] = {"terms": AgreementTerms.model_construct(**terms)}
    home, steps = make_home(tmp_path / "home"), Mock()
    steps.connect.side_effect = CoordinatorUnreachable(address="centre")
    monkeypatch.setattr(federation, "clear_library", steps.clear)
    monkeypatch.setattr(federation, "member_of", Mock())
    monkeypatch.setattr(federation, "member_channel", steps.connect)
    with pytest.raises(CoordinatorUnreachable):
        answer_messages(home, Membership.model_construct(**member), "ricord", threading.Event(), once=True)
    assert [name for name, *_ in steps.mock_calls] == ["clear", "connect"]
    assert steps.clear.call_args.args[0] == home
