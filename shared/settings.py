"""Settings: read once, whole, frozen; a wrong key stops the start with the key's name and the file's line."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from shared.errors import InvalidSetting, SettingsMissing, SettingsUnreadable, UnknownSetting
from shared.frozen import Frozen

Settings = TypeVar("Settings", bound=Frozen)


def load_settings(file: Path, model: type[Settings], *, program: str) -> Settings:
    """Read a TOML file into `model`.

    Raises `SettingsMissing`, `SettingsUnreadable`, `UnknownSetting` or `InvalidSetting`; the last two name the key
    and its line. Values are never quoted: a setting may be a secret.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsMissing(file=str(file), program=program) from error
    except UnicodeDecodeError as error:
        raise SettingsUnreadable(file=str(file), line="1") from error
    try:
        return model.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise SettingsUnreadable(file=str(file), line=line.group(1) if line else "?") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = tuple(str(part) for part in first["loc"])
        where = {"file": str(file), "key": ".".join(path), "line": str(line_of(text, path))}
        if first["type"] == "extra_forbidden":
            raise UnknownSetting(**where) from None
        raise InvalidSetting(problem=first["msg"][:1].lower() + first["msg"][1:], **where) from None


def line_of(text: str, path: Sequence[str]) -> int:
    """The 1-based line of a dotted key in TOML text: its own line, else its table's, else 1."""
    table: tuple[str, ...] = ()
    best, depth = 1, 0
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]", line)
        assignment = re.match(r"\s*([\w.\-\"']+)\s*=", line)
        if header:
            table = _parts(header.group(1))
            key = table
        elif assignment:
            key = table + _parts(assignment.group(1))
        else:
            continue
        if len(key) > depth and tuple(path[: len(key)]) == key:
            best, depth = number, len(key)
    return best


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
