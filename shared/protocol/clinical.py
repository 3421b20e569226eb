"""The clinical dictionary as data: named, typed, coded fields; which join rows to studies, which leave the hospital.

A field of kind `key` is a hospital identifier: it joins rows to studies on the hospital's side and never leaves. Free
text (`text`) may stand in a sheet and never leaves either. What leaves is a code, a number or a shifted date.
"""

from typing import Literal, Self

from pydantic import Field as Setting
from pydantic import model_validator

from shared.frozen import Frozen
from shared.protocol.parts import parse_part

Kind = Literal["key", "code", "integer", "number", "date", "text"]


class Code(Frozen):
    """One allowed value of a coded field; `also` are other spellings that mean the same."""

    value: str
    meaning: str
    also: tuple[str, ...] = ()


class Field(Frozen):
    """One column of the clinical sheet."""

    name: str = Setting(pattern=r"^[a-z][a-z0-9_]*$")
    title: str  # the column's heading in the template
    meaning: str
    kind: Kind
    codes: tuple[Code, ...] = ()
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    cap: int | None = None  # what leaves is at most this
    also: tuple[str, ...] = ()  # other headings that mean this column

    @property
    def leaves(self) -> bool:
        """Whether the field's value leaves the hospital, de-identified."""
        return self.kind not in {"key", "text"}

    @model_validator(mode="after")
    def _codes_fit_the_kind(self) -> Self:
        if (self.kind == "code") != bool(self.codes):
            raise ValueError("codes belong to fields of kind `code`, and each of those has some")
        return self


class ClinicalDictionary(Frozen):
    """All fields of the clinical sheet, in the template's order."""

    name: str
    edition: str
    source: str
    fields: tuple[Field, ...] = Setting(min_length=1)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [field.name for field in self.fields]
        if len(set(names)) != len(names):
            raise ValueError("a field name stands twice")
        return self

    @property
    def keys(self) -> tuple[Field, ...]:
        """The hospital identifiers a row is joined by; none of them leaves."""
        return tuple(field for field in self.fields if field.kind == "key")

    @property
    def released_fields(self) -> tuple[Field, ...]:
        """The fields whose de-identified values leave."""
        return tuple(field for field in self.fields if field.leaves)

    def named(self, name: str) -> Field:
        """The field of that name; raises `KeyError`."""
        return {field.name: field for field in self.fields}[name]

    @classmethod
    def from_toml(cls, text: str, *, file: str = "clinical dictionary") -> Self:
        """Read a dictionary from TOML; raises `ProtocolInvalid` naming an unknown key or a value that cannot be."""
        return parse_part(text, cls, file=file)
