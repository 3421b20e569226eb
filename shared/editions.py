"""Editions of a protocol: how they are named and ordered, and the range of them that an agreement covers."""

from typing import Annotated, Self

from pydantic import StringConstraints, model_validator

from shared.frozen import Frozen
from shared.ids import Sha256

EditionName = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6}){0,3}$")]  # `2026.11`


class ProtocolEdition(Frozen):
    """One edition of a protocol; its digest is over its data (`shared.protocol.loader`)."""

    protocol: str
    edition: EditionName
    digest: Sha256


class EditionRange(Frozen):
    """The editions that an agreement covers, first and last among them; `signed` is the one whose digest it names."""

    first: EditionName
    signed: EditionName
    last: EditionName

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.signed not in self:
            raise ValueError("the edition signed is outside the range")
        return self

    def __contains__(self, edition: str) -> bool:
        return rank(self.first) <= rank(edition) <= rank(self.last)


def rank(edition: str) -> tuple[int, ...]:
    """By which editions are ordered: 2026.9 comes before 2026.11."""
    return tuple(map(int, edition.split(".")))
