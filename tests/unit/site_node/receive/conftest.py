"""A source to be received, and keys for its studies."""

import hashlib
from pathlib import Path

import pytest

from shared.ids import StudyKey
from site_node.receive.folder import Reception, receive_folder


class Keys:
    """Study keys that need no secret."""

    def study_key(self, study_uid: str) -> StudyKey:
        return StudyKey(hashlib.sha256(study_uid.encode()).hexdigest()[:32])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def receive(source: Path) -> Reception:
    """Receive a source into the spool beside it."""
    return receive_folder(source, source.parent / "spool", Keys())
