"""What every error is and does: its code, its two texts, and how it travels to another process.

The classes stand in `shared/errors.py`, from which all is imported.
"""

import re

from shared.error_texts import TEXTS, ExitCode


class RicordError(Exception):
    """Base of every error this project raises on purpose.

    `private` goes to the operator's log only; `fields` fill the public sentence and travel over the wire.
    """

    def __init__(self, private: str = "", **fields: str) -> None:
        super().__init__(private)
        self.private = private
        self.fields = {name: str(value) for name, value in fields.items()}

    @property
    def code(self) -> str:
        """The error's name on the wire and in `--json`: the class name in kebab case."""
        return code_of(type(self))

    @property
    def public(self) -> str:
        """The sentence of the table with this error's fields in it."""
        return TEXTS[self.code].sentence.format_map(_Known(self.fields))

    @property
    def exit_code(self) -> ExitCode:
        """What the process ends with when this error reaches the shell."""
        return TEXTS[self.code].exit_code

    def __str__(self) -> str:
        return self.public

    def __reduce__(self) -> "tuple[object, ...]":
        """To another process an error goes by its code and fields; its private text stays."""
        return error_for, (self.code, self.fields)


class Verdict(RicordError):
    """Base of the errors that judge one study, and end it. Every other error leaves each study where it is.

    The coordinator's verdict on a sealed study is one, too; that its store is locked, or its disk full, is none.
    """


class _Known(dict[str, str]):
    """Fields by name; a field that the raiser left out shows as `?` instead of hiding the sentence."""

    def __missing__(self, key: str) -> str:
        return "?"


def code_of(kind: type[RicordError]) -> str:
    """Kebab-case code of an error class: `TokenExpired` -> `token-expired`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind.__name__).lower()


def all_errors(kind: type[RicordError] = RicordError) -> tuple[type[RicordError], ...]:
    """The leaf classes below `kind`: those that are raised."""
    children = kind.__subclasses__()
    return tuple(leaf for child in children for leaf in all_errors(child)) if children else (kind,)


def error_for(code: str, fields: dict[str, str]) -> RicordError:
    """The error another process named on the wire; an unknown code becomes `InternalError`."""
    kinds = {code_of(kind): kind for kind in all_errors()}
    if code in kinds:
        return kinds[code](**fields)
    return kinds["internal-error"](f"unknown error code {code!r} from the other side")
