"""What a page is given, and what it returns: a visit, and an answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.errors.inputs import InvalidArgument
from shared.web.people import Person

_MOST_TEXT = 2000


@dataclass(frozen=True)
class Form:
    """The fields of a form, and at most one file."""

    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    file: bytes | None = None

    def texts(self, name: str) -> tuple[str, ...]:
        """Every value of a field; none where the form lacks it."""
        return self.fields.get(name, ())

    def text(self, name: str, *, most: int = _MOST_TEXT) -> str:
        """A field that occurs once, without spaces around it; raises `InvalidArgument`."""
        values = self.texts(name)
        if len(values) != 1 or not values[0].strip():
            raise InvalidArgument(name=f"The field {name!r}", problem="fill it in")
        if len(values[0]) > most:
            raise InvalidArgument(name=f"The field {name!r}", problem=f"it has more than {most} characters")
        return values[0].strip()

    def optional(self, name: str, *, most: int = _MOST_TEXT) -> str:
        """The same, or an empty text."""
        return self.text(name, most=most) if any(value.strip() for value in self.texts(name)) else ""

    def upload(self) -> bytes:
        """The file; raises `InvalidArgument`."""
        if not self.file:
            raise InvalidArgument(name="The file", problem="choose one that is not empty")
        return self.file


@dataclass(frozen=True)
class Visit:
    """A person at a page. `values` are the parts of the path that its pattern names, `query` what follows `?`."""

    person: Person
    values: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    form: Form = field(default_factory=Form)

    @property
    def page_number(self) -> int:
        """Which part of a long list is shown, from 1; raises `InvalidArgument`."""
        text = self.query.get("page", "1")
        if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= 10**6):
            raise InvalidArgument(name="page", problem="it is a number from 1")
        return int(text[:9])


@dataclass(frozen=True)
class Shown:
    """A page: its template, and the values that it names."""

    template: str
    values: Mapping[str, object] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True)
class Redirect:
    """Another page to go to, after a form was sent. `notice` is the name of a sentence of that page's template."""

    path: str
    notice: str = ""


@dataclass(frozen=True)
class Content:
    """A picture or a file."""

    data: bytes
    media_type: str
    filename: str = ""  # under which a browser saves it
    encoding: str = ""  # such as `gzip`


Answer = Shown | Redirect | Content
