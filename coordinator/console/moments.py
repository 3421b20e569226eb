"""Moments of messages."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp


def moment_of(stamp: Timestamp) -> datetime | None:
    """The moment, in UTC; `None` where the message has none."""
    return stamp.ToDatetime(tzinfo=UTC) if stamp.seconds or stamp.nanos else None
