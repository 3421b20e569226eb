"""Units of a sheet's numbers, by their UCUM names: how people write them, and which convert into which.

Conversions happen only where a person's mapping names the unit; a unit that only a heading or a cell states, and
that is not the dictionary's, is a problem.
"""

from types import MappingProxyType

_SPELLINGS = MappingProxyType(
    {
        "years": ("year", "yr", "yrs", "y", "a"),
        "months": ("month", "mo", "mon"),
        "days": ("day", "d"),
        "Cel": ("°c", "c", "degc", "celsius", "degrees celsius"),
        "[degF]": ("°f", "f", "degf", "fahrenheit", "degrees fahrenheit"),
        "%": ("percent", "pct"),
        "1": ("fraction",),
        "mg/L": (),
        "mg/dL": (),
        "ug/mL": ("µg/ml", "μg/ml", "mcg/ml"),
        "g/L": (),
        "nmol/L": (),
    }
)
_NAMES = MappingProxyType({text.casefold(): name for name, also in _SPELLINGS.items() for text in (name, *also)})
_CONVERSIONS = MappingProxyType(  # (from, to): factor, then offset
    {
        ("[degF]", "Cel"): (5 / 9, -160 / 9),
        ("1", "%"): (100.0, 0.0),
        ("mg/dL", "mg/L"): (10.0, 0.0),
        ("ug/mL", "mg/L"): (1.0, 0.0),
        ("g/L", "mg/L"): (1000.0, 0.0),
    }
)


def unit_named(text: str) -> str | None:
    """The UCUM name of a unit as people write it; `None` for an unknown one."""
    return _NAMES.get(" ".join(text.split()).casefold())


def convertible(unit: str, target: str | None) -> bool:
    """Whether a number in `unit` converts to `target`."""
    return unit == target or (unit, target) in _CONVERSIONS


def convert(number: float, unit: str, target: str) -> float:
    """`number` of `unit` in `target`, to four decimals; the two must be `convertible`."""
    if unit == target:
        return number
    factor, offset = _CONVERSIONS[unit, target]
    return round(number * factor + offset, 4)
