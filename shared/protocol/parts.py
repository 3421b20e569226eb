"""Reading one part of the protocol from its TOML text: everything named, nothing unknown, errors that say where."""

import tomllib
from typing import TypeVar

from pydantic import ValidationError

from shared.errors.protocol import ProtocolInvalid
from shared.frozen import Frozen

Part = TypeVar("Part", bound=Frozen)


def parse_part(text: str, model: type[Part], *, file: str) -> Part:
    """Read TOML into `model`; raises `ProtocolInvalid` naming the key of the first thing wrong."""
    try:
        return model.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ProtocolInvalid(file=file, problem=f"it is no TOML ({error})") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        unknown = first["type"] == "extra_forbidden"
        problem = f"there is no key `{key}`" if unknown else f"`{key}`: {first['msg'][:1].lower()}{first['msg'][1:]}"
        raise ProtocolInvalid(file=file, problem=problem) from None
