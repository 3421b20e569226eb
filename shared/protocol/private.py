"""Private elements that identify nobody, by their creator: the rows of PS3.15 Table E.3.10-1 that a profile keeps.

A private element means nothing by its tag alone: `(gggg,bbee)` belongs to the creator that reserved block `bb` in
`(gggg,00bb)` of the same data set (PS3.5 section 7.8.1). So a row names group, creator and element, never a block.
"""

from collections.abc import Mapping

from pydantic import Field, field_validator

from shared.errors.protocol import ProtocolInvalid
from shared.frozen import Frozen
from shared.protocol.rules import Action, Rule, rows_of

# Numbers and short codes only: nothing here can hold prose, an object, a date or a UID.
ALLOWED_VRS = frozenset({"CS", "DS", "FD", "FL", "IS", "LO", "SH", "SL", "SS", "UL", "US"})
_FIRST_PRIVATE = 0x0009
BLOCKS = range(0x10, 0x100)  # element numbers of creators, and what they reserve (PS3.5 section 7.8.1)


class SafePrivate(Frozen):
    """One row: an element of a creator's block."""

    group: int = Field(ge=_FIRST_PRIVATE, le=0xFFFD)
    creator: str = Field(min_length=1, max_length=64)
    element: int = Field(ge=0, le=0xFF)
    name: str
    vr: str
    vm: str = Field(pattern=r"^(\d+|\d+-(\d+|\d*n))$")
    source: str

    @field_validator("group")
    @classmethod
    def _odd(cls, group: int) -> int:
        if group % 2 == 0:
            raise ValueError("a private group is odd")
        return group

    @field_validator("vr")
    @classmethod
    def _harmless(cls, vr: str) -> str:
        if vr not in ALLOWED_VRS:
            raise ValueError("a private element of this value representation is not kept")
        return vr

    def rule(self, block: int) -> Rule:
        """The rule of the element where its creator reserved `block` (0x10 to 0xFF)."""
        tag = self.group << 16 | block << 8 | self.element
        return Rule(
            tag=tag,
            keyword=self.name,
            vrs=frozenset({self.vr}),
            action=Action.KEEP,
            multiplicity=self.vm,
            source=self.source,
        )


def read_safe_private(text: str, *, file: str) -> tuple[SafePrivate, ...]:
    """The rows of a list; raises `ProtocolInvalid` with the line of the first wrong or doubled one."""
    elements: dict[tuple[int, str, int], SafePrivate] = {}
    for number, row in rows_of(text):
        try:
            element = _element(row)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ProtocolInvalid(file=file, problem=f"line {number} is malformed or keeps what is not safe") from error
        key = (element.group, element.creator, element.element)
        if key in elements:
            raise ProtocolInvalid(file=file, problem=f"line {number} names an element again")
        elements[key] = element
    return tuple(elements.values())


def _element(row: Mapping[str, str]) -> SafePrivate:
    if set(row) != {"group", "creator", "element", "name", "vr", "vm", "source"}:
        raise ValueError("unknown columns")
    numbers = {"group": int(row["group"], 16), "element": int(row["element"], 16)}
    return SafePrivate.model_validate({**row, **numbers})
