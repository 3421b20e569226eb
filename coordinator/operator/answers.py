"""Answers of a coordinator as plain values, and lists that come in pages as a whole."""

import json
from collections.abc import Callable
from datetime import UTC
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from shared.wire import UNARY_SECONDS


def plain(message: Message) -> dict[str, Any]:
    """A message with its own field names: moments as ISO text, states as words, bytes as the JSON in them."""
    return {field.name: _value(message, field) for field in message.DESCRIPTOR.fields}


def every_page(call: Callable[..., Any], request: Any) -> Any:
    """A list as one message: page after page, or the single page of a request that has a limit."""
    whole = call(request, timeout=UNARY_SECONDS)
    while whole.next and not request.limit:
        request.after = whole.next
        page = call(request, timeout=UNARY_SECONDS)
        whole.MergeFrom(page)
        whole.next = page.next
    return whole


def _value(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.is_repeated:
        return [_single_value(element, field) for element in value]
    if field.message_type is not None and not message.HasField(field.name):
        return None
    return _single_value(value, field)


def _single_value(value: Any, field: Any) -> Any:  # a field descriptor; the type stubs know two kinds
    if isinstance(value, Timestamp):
        return value.ToDatetime(tzinfo=UTC).isoformat()
    if isinstance(value, Message):
        return plain(value)
    if field.enum_type is not None:
        words = field.enum_type.values_by_number[value].name
        prefix = field.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED")
        return words.removeprefix(prefix).lower()
    return _text(value) if isinstance(value, bytes) else value


def _text(value: bytes) -> Any:
    try:
        return json.loads(value) if value else None
    except ValueError:
        return value.decode(errors="replace")
