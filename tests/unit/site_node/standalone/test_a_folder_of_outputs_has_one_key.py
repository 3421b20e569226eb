"""Outputs of another key or SITEID are not added to: a patient would have two pseudonyms in one folder."""

from pathlib import Path

import pytest

from shared.crypto.keys import make_secret
from shared.errors.inputs import InvalidArgument
from shared.ids import SiteId
from site_node.standalone.job import Job
from site_node.standalone.resume import KEY_CHECK
from tests.unit.site_node.standalone.conftest import Alone


@pytest.mark.parametrize("change", ["key_file", "site_id", "no note"])
def test_another_key_or_site_is_refused(alone: Alone, job: Job, tmp_path: Path, change: str) -> None:
    """In one sentence, and nothing changes; so is a folder of outputs that does not say which key they have."""
    alone()
    before = {path: path.read_bytes() for path in job.out.rglob("*") if path.is_file()}
    make_secret(tmp_path / "other")
    changes = {"key_file": tmp_path / "other", "site_id": SiteId("123457")}
    if change == "no note":
        before.pop(job.out / KEY_CHECK)
        (job.out / KEY_CHECK).unlink()
    with pytest.raises(InvalidArgument, match="another key or SITEID"):
        alone(**{change: changes[change]} if change in changes else {})
    assert {path: path.read_bytes() for path in job.out.rglob("*") if path.is_file()} == before


def test_the_same_key_goes_on_and_a_folder_without_outputs_has_none(alone: Alone, job: Job, tmp_path: Path) -> None:
    """The note is for the owner alone, and says nothing of the key."""
    make_secret(tmp_path / "other")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(Exception, match="DICOM"):
        alone(empty, key_file=tmp_path / "other")
    assert alone() == alone()
    note = job.out / KEY_CHECK
    assert note.stat().st_mode & 0o077 == 0
    assert len(note.read_text()) == 32
    assert note.read_bytes() not in job.key_file.read_bytes()
