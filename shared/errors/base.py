"""What every error is and does: its code, its two texts, and how it travels to another process.

The public text is a class's sentence: what, where and what to do. The private text is for the operator's own log.
Neither has a patient's value. `tests/laws/test_error_table_is_complete.py` holds every class to it.
"""

import re
from enum import IntEnum
from typing import ClassVar, NamedTuple


class ExitCode(IntEnum):
    """The exit codes of both programs; `--help` documents them."""

    DONE = 0
    FAILED = 1  # could not run
    USAGE = 2  # wrong arguments or settings, or nothing to work on
    PARTIAL = 3  # ran, and some studies or files were not accepted
    REFUSED = 4  # the other side refused: token, certificate, agreement, protocol
    UNREACHABLE = 5  # the other side did not answer; try again later


class Text(NamedTuple):
    """The public side of an error: its sentence, the process's exit code and the name of its gRPC status."""

    sentence: str
    exit_code: ExitCode
    status: str


class RicordError(Exception):
    """Base of every error this project raises on purpose.

    `private` goes to the operator's log only; `fields` fill the public sentence and travel over the wire. `request`
    names the call that another process refused with it, in that one's log.
    """

    text: ClassVar[Text]  # of each class that is raised
    request: str = ""

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
        """The sentence of the class with this error's fields in it."""
        return self.text.sentence.format_map(_Known(self.fields))

    @property
    def exit_code(self) -> ExitCode:
        """What the process ends with when this error reaches the shell."""
        return self.text.exit_code

    def __str__(self) -> str:
        return self.public

    def __reduce__(self) -> "tuple[object, ...]":
        """To another process an error goes by its class and fields; its private text stays."""
        return _rebuilt, (type(self), self.fields)


class Verdict(RicordError):
    """Base of the errors that judge one study, and end it. Every other error leaves each study where it is.

    The coordinator's verdict on a sealed study is one, too; that its store is locked, or its disk full, is none.
    """


class InternalError(RicordError):
    """A defect of this program; the private text is in its log."""

    text = Text(
        "This program met a defect of its own; `--debug` shows where, and nothing half-done was kept.",
        ExitCode.FAILED,
        "INTERNAL",
    )


class _Known(dict[str, str]):
    """Fields by name; a field that the raiser left out shows as `?` instead of hiding the sentence."""

    def __missing__(self, key: str) -> str:
        return "?"


def code_of(kind: type[RicordError]) -> str:
    """Kebab-case code of an error class: `TokenExpired` -> `token-expired`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind.__name__).lower()


def _rebuilt(kind: type[RicordError], fields: dict[str, str]) -> RicordError:
    return kind(**fields)
