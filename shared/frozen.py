"""The base of every value that crosses a boundary: immutable, complete, nothing unknown accepted."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1, le=2**31 - 1)]  # fits the wire's uint32 and a column of four bytes
LARGEST_NUMBER = 2**63 - 1
LargeCount = Annotated[int, Field(ge=1, le=LARGEST_NUMBER)]  # fits uint64 and a column of eight bytes


class Frozen(BaseModel):
    """A frozen pydantic model that refuses unknown fields and hides its input in validation errors.

    `hide_input_in_errors` keeps a patient's value out of the text of a `ValidationError`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)
