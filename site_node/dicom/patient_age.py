"""PatientAge: what is plainly meant by it, and whether birth and study date agree with it (PS3.5 section 6.2, AS)."""

import re
from datetime import date
from typing import NamedTuple

OLDEST = 130  # years; an age above is an error
_AGE = re.compile(r"(\d{1,3}) ?([DWMY]?)")
_UNITS_UNDER_18 = {"D": 365, "W": 52, "M": 12}
_TOLERANCE = 1  # years: some systems round, and some count from the day of birth of another study


class PatientAge(NamedTuple):
    """A number of days, weeks, months or years."""

    number: int
    unit: str  # D, W, M or Y

    @property
    def years(self) -> int:
        """Whole years; days, weeks and months mean a child, whatever their number."""
        return self.number if self.unit == "Y" else min(self.number // _UNITS_UNDER_18[self.unit], 17)

    @property
    def is_placeholder(self) -> bool:
        """Whether nobody is that old: systems write 0 or 999 where they do not know."""
        return self.number == 0 or self.years > OLDEST

    def contradicts(self, by_dates: int | None) -> bool:
        """Whether the years from birth to study differ by more than a year; nothing contradicts unknown dates."""
        return by_dates is not None and abs(self.years - by_dates) > _TOLERANCE

    def __str__(self) -> str:
        """As the Standard writes it."""
        return f"{self.number:03d}{self.unit}"


def parse_age(text: str) -> PatientAge | None:
    """The age that `045Y`, `45Y`, `045` or `45` mean, without a unit years; `None` for what is no age."""
    match = _AGE.fullmatch(text.strip(" \0").upper())
    return PatientAge(int(match[1]), match[2] or "Y") if match else None


def age_between(birth: date | None, day: date | None) -> int | None:
    """Completed years from birth to a day; `None` where a date is unknown or they give nobody's age."""
    if birth is None or day is None:
        return None
    years = day.year - birth.year - ((day.month, day.day) < (birth.month, birth.day))
    return years if 0 <= years <= OLDEST else None
