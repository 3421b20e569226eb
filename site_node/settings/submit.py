"""How studies are sent: the section `[submit]`."""

from pydantic import Field

from shared.frozen import Frozen


class SubmitSettings(Frozen):
    """How many studies are sent at once, and how fast."""

    at_once: int = Field(default=4, ge=1, le=4)  # as many as the coordinator receives of one site
    megabits_per_second: float = Field(default=0, ge=0, le=1_000_000)  # of all together; 0: as many as go

    @property
    def bytes_per_second(self) -> float:
        """The same rate in bytes; 0: as many as go."""
        return self.megabits_per_second * 125_000
