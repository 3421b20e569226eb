"""Which attributes an image object must have (Type 1: with a value; Type 2: at all), as data from PS3.3."""

import csv
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import NamedTuple

Places = tuple[int, ...]  # the sequences that lead to an attribute, outermost first


class Required(NamedTuple):
    """One attribute that must be present, and whether it needs a value."""

    tag: int
    value: bool


@cache
def required_of(sop_class: str) -> Mapping[Places, tuple[Required, ...]]:
    """For each place in an object of that SOP class, what every data set there must have; empty for other classes."""
    return _table().get(sop_class, MappingProxyType({}))


@cache
def _table() -> Mapping[str, Mapping[Places, tuple[Required, ...]]]:
    text = (resources.files("shared.protocol") / "data" / "iod" / "required.csv").read_text(encoding="utf-8")
    table: defaultdict[str, defaultdict[Places, list[Required]]] = defaultdict(lambda: defaultdict(list))
    for row in csv.DictReader(line for line in text.splitlines() if not line.startswith("#")):
        places = tuple(int(tag, 16) for tag in row["path"].split("/") if tag)
        table[row["sop_class"]][places].append(Required(int(row["tag"], 16), row["type"] == "1"))
    return {
        sop_class: MappingProxyType({places: tuple(rows) for places, rows in by_place.items()})
        for sop_class, by_place in table.items()
    }
