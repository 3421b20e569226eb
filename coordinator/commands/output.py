"""Messages as plain values for `--json`, and as tables for a person."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Annotated, Any

import typer
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from coordinator.commands.home_folder import folder_of
from coordinator.home.settings import Home
from coordinator.operator.answers import plain
from shared.terminal import print_json, print_table

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHORT = 12  # digits of a digest in a list: commands accept the beginning of an id
_LONGEST = 100  # characters without a space; `--json` shows everything

AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON for scripts.")]


def home_of(context: typer.Context) -> Home:
    """The coordinator's home, from `--home` or the environment."""
    return Home(folder_of(context))


def show(message: Message, *, as_json: bool) -> None:
    """One message, as JSON or as a table of two columns."""
    if as_json:
        print_json(plain(message))
    else:
        show_values(message.DESCRIPTOR.name, plain(message))


def show_values(title: str, values: Mapping[str, Any]) -> None:
    """Named values, but the empty ones, as a table of two columns."""
    rows = [(_heading(name), _cell(value)) for name, value in values.items() if value not in (None, "", [])]
    print_table(title, ("", ""), rows)


def show_all(title: str, messages: Iterable[Message], columns: tuple[str, ...], *, as_json: bool) -> None:
    """Messages of one kind, as a JSON list or as a table of some of their fields."""
    values = [plain(message) for message in messages]
    if as_json:
        print_json(values)
    else:
        show_fields(title, values, columns)


def show_fields(title: str, values: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Some fields of each of several values, as a table for a person."""
    rows = [[short(_cell(value[column])) for column in columns] for value in values]
    print_table(title, [_heading(column) for column in columns], rows)


def short(text: str) -> str:
    """A digest by its first digits; other text as it is."""
    return text[:_SHORT] if _DIGEST.fullmatch(text) else text


def _heading(name: str) -> str:
    """A field's name in words."""
    return "SITEID" if name == "site_id" else name.replace("_", " ")


def _cell(value: Any) -> str:
    """For a person: lists in a line, documents as indented JSON, keys and digests shortened."""
    if isinstance(value, dict):
        return json.dumps(_shortened(value), ensure_ascii=False, indent=1)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(element) for element in value)
    return "" if value is None else str(_shortened(value))


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shortened(entry) for name, entry in value.items()}
    if isinstance(value, str) and _MOMENT.match(value):
        return value[:19].replace("T", " ")
    long = isinstance(value, str) and len(value) > _LONGEST and " " not in value
    return f"{value[:24]}…{value[-8:]}" if long else value


def moment(timestamp: Timestamp) -> str:
    """A moment for a person."""
    return f"{timestamp.ToDatetime(tzinfo=UTC):%Y-%m-%d %H:%M} UTC"
