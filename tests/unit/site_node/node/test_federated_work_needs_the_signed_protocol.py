"""The protocol is compared with the agreement before federated work begins."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shared.errors import ProtocolMismatch
from shared.ids import Sha256
from shared.protocol.loader import load_protocol
from site_node.home.folder import SiteHome
from site_node.node.federation import answer_messages


def test_federated_work_needs_the_protocol_that_was_signed(tmp_path: Path) -> None:
    """With another protocol than the agreement's nothing is registered and nothing connected."""
    signed = Sha256("b" * 64)
    membership: Any = SimpleNamespace(protocol_digest=signed)  # no address: it would fail to connect with another error
    with pytest.raises(ProtocolMismatch) as caught:
        answer_messages(SiteHome(tmp_path), membership, "ricord", threading.Event(), once=True)
    assert caught.value.fields == {"held": load_protocol("ricord").digest, "wanted": signed}
    assert not list(tmp_path.iterdir())
