"""What commands show of messages, to scripts and to people."""

from datetime import UTC, datetime

import pytest

from coordinator.commands.output import show, show_all, show_fields
from coordinator.operator.answers import plain
from coordinator.operator.drafts import end_of
from shared.proto.ricord.v1 import agreement_pb2, submission_pb2
from shared.wire import to_timestamp

NOW = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
AGREEMENT = agreement_pb2.Agreement(
    id="A-0123456789ab",
    state=agreement_pb2.AGREEMENT_STATE_EXECUTED,
    version=3,
    terms=b'{"modes":["submit"],"recipient":"age1%s"}' % (b"q" * 200),
    changed_at=to_timestamp(NOW),
)


def test_a_script_reads_every_field() -> None:
    """States as words, moments in ISO form, JSON as JSON, what is absent as null; nothing shortened."""
    shown = plain(AGREEMENT)
    assert shown["state"] == "executed"
    assert shown["changed_at"] == NOW.isoformat()
    assert shown["terms"]["recipient"] == "age1" + "q" * 200
    assert shown["consent"] is None
    assert set(shown) == {field.name for field in AGREEMENT.DESCRIPTOR.fields}


def test_large_numbers_stay_numbers() -> None:
    """A size beyond 2^32 is a number, not text."""
    assert plain(submission_pb2.Submission(ciphertext_size=2**40))["ciphertext_size"] == 2**40


def test_a_person_reads_no_thousand_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """Keys are shortened, moments are to the second."""
    show(AGREEMENT, as_json=False)
    show_all("Agreements", [AGREEMENT], ("id", "changed_at"), as_json=False)
    printed = capsys.readouterr().out
    assert "q" * 60 not in printed
    assert "2026-03-01 12:00:00" in printed


def test_the_last_day_is_part_of_an_agreement() -> None:
    """A day ends at its midnight; a moment is taken as it is; without a zone it is UTC."""
    assert end_of("2027-01-31") == datetime(2027, 2, 1, tzinfo=UTC)
    assert end_of("2027-01-31T08:00:00+02:00") == datetime(2027, 1, 31, 6, tzinfo=UTC)
    assert end_of("2027-01-31T08:00:00") == datetime(2027, 1, 31, 8, tzinfo=UTC)
    with pytest.raises(ValueError, match="isoformat"):
        end_of("tomorrow")


def test_a_persons_table_has_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Headings are words, lists stand in a line; only scripts read the names of fields."""
    study = {"site_id": "895096", "instance_count": 1, "modalities": ["CR", "DX"]}
    show_fields("Opened studies", [study], tuple(study))
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("SITEID", "instance count", "CR, DX"))
    assert "_" not in printed
