"""How gently a PACS is queried over either protocol: the settings that `[pacs]` and `[dicomweb]` share."""

import re
from datetime import time
from typing import Annotated

from pydantic import AfterValidator, Field

from shared.frozen import Frozen

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


def _hours(text: str) -> str:
    if not _HOURS.fullmatch(text):
        raise ValueError('hours are written as "20:00-06:00"')
    return text


class RetrievalSettings(Frozen):
    """When, how often and how long a PACS is queried."""

    hours: Annotated[str, AfterValidator(_hours)] | None = None  # local time; nothing is retrieved outside
    studies_per_hour: int | None = Field(default=None, ge=1)
    attempts: int = Field(default=8, ge=1, le=100)
    retry_seconds: float = Field(default=30.0, ge=0, le=86_400)  # doubled with each attempt, at most an hour
    answer_seconds: float = Field(default=30.0, ge=0.1, le=3600)  # without an answer for so long, it is queried again
    retrieve_seconds: float = Field(default=120.0, ge=0.1, le=86_400)  # likewise while images arrive

    def is_open(self, now: time) -> bool:
        """Whether `now`, local time, is within `hours`; they may span midnight."""
        if self.hours is None:
            return True
        start, end = (time.fromisoformat(part) for part in self.hours.split("-"))
        return start <= now < end if start <= end else now >= start or now < end

    def wait_seconds(self, attempts: int) -> float:
        """How long to wait after `attempts` failed attempts."""
        return min(self.retry_seconds * float(1 << max(0, min(attempts, 20) - 1)), 3600.0)
