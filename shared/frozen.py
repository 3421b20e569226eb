"""The base of every value that crosses a boundary: immutable, complete, nothing unknown accepted."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A frozen pydantic model that refuses unknown fields and hides its input in validation errors.

    `hide_input_in_errors` keeps a patient's value out of the text of a `ValidationError`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)
