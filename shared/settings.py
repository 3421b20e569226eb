"""Settings: read once, whole, frozen; a wrong key stops the start with the key's name and the file's line."""

import re
import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import ValidationError

from shared.errors.settings import InvalidSetting, SettingsMissing, SettingsUnreadable, UnknownSetting
from shared.frozen import Frozen

Settings = TypeVar("Settings", bound=Frozen)


def load_settings(file: Path, model: type[Settings], *, program: str) -> Settings:
    """Read a TOML file into `model`; raises `SettingsMissing`, `SettingsUnreadable`, and as `parse_settings`."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsMissing(file=str(file), program=program) from error
    except UnicodeDecodeError as error:
        raise SettingsUnreadable(file=str(file), line="1", problem="the file is not UTF-8") from error
    return parse_settings(text, model, file=str(file))


def parse_settings(text: str, model: type[Settings], *, file: str) -> Settings:
    """Read TOML into `model`; `file` is what an error calls the text.

    Raises `SettingsUnreadable`, `UnknownSetting` or `InvalidSetting`; the last two name the key and its line. Values
    are never quoted: a setting may be a secret.
    """
    try:
        return model.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise SettingsUnreadable(
            file=file, line=line[1] if line else str(text.count("\n") + 1), problem=_toml_problem(error)
        ) from error
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        first = problems[0]
        path = tuple(takewhile(lambda part: "[" not in part, map(str, first["loc"])))  # then come pydantic's own names
        where = {"file": file, "key": ".".join(path), "line": str(line_of(text, path))}
        if first["type"] == "extra_forbidden":
            nearest = get_close_matches(path[-1], _names_beside(model, path), n=1)
            advice = "".join(f"write `{name}`, or " for name in nearest) + "remove it"
            raise UnknownSetting(advice=advice, **where) from None
        last = [each["msg"] for each in problems if tuple(map(str, each["loc"]))[: len(path)] == path][-1]
        message = last.removeprefix("Value error, ").rstrip(".")  # of a union the last kind says most
        raise InvalidSetting(problem=message[:1].lower() + message[1:], **where) from None


def _toml_problem(error: tomllib.TOMLDecodeError) -> str:
    """What is wrong, in our words: the parser's quote characters of what stands there."""
    if str(error).startswith(("Cannot overwrite", "Cannot declare", "Cannot mutate")):
        return "a setting or section of this name stands before"
    return "this is not TOML, such as a text without quotes or a line that is no `name = value`"


def _names_beside(model: type[Frozen], path: Sequence[str]) -> list[str]:
    """The names that the table may hold in which the last key of `path` stands."""
    kinds: list[type[Frozen]] = [model]
    for key in path[:-1]:
        annotations = [kind.model_fields[key].annotation for kind in kinds if key in kind.model_fields]
        alternatives = [each for annotation in annotations for each in (annotation, *get_args(annotation))]
        kinds = [each for each in alternatives if isinstance(each, type) and issubclass(each, Frozen)]
    return [name for kind in kinds for name in kind.model_fields]


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
