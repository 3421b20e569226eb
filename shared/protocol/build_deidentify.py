"""What the facts say of each attribute, and the action the `ricord` table gives it; `build_profiles` writes the tables.

FACTS is the folder with `ricord_protocol_facts.yaml`, `ps3_15_table_facts.yaml` and `iod_attribute_types.csv`. Needs
PyYAML, which nothing at run time does. For each attribute the first source that names it decides, and the column
`source` says which: a decision of ours (below, each with its reason), the 2020 appendix, PS3.15 with the options
claimed, the attributes that the RSNA Anonymizer 19 keeps, the attributes that a CT, CR, DX or Enhanced CT must have.
An attribute without a row is removed.
"""

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml  # type: ignore[import-untyped]  # PyYAML ships no types and only this script needs it

HEADER = ("tag", "keyword", "vr", "action", "required", "source")
KINDS = {
    "computed-radiography-image": "cr",
    "ct-image": "ct",
    "digital-x-ray-image": "dx",
    "enhanced-ct-image": "ect",
}
KEPT_GROUPS = frozenset({0x0008, 0x0010, 0x0018, 0x0020, 0x0028, 0x5200})
FREE_TEXT = frozenset({"ST", "LT", "UT", "UC", "UR", "PN", "AE", "UN", "NONE"})
EDITION = "RICORD 10 June 2020; PS3.15 Table E.1-1 2026c (options 2024b); PS3.3 by highdicom 0.28.2"
PATIENT, TRIAL, ACQUISITION = 0x0010, 0x0012, 0x0018
REAL_WORLD_VALUES = range(0x00409096, 0x00409226)
DESCRIPTIVE = re.compile("Description|Comment|Label$|Text$|Explanation|ProtocolName|ElementName")
CODE_PARTS = frozenset({0x00080100, 0x00080102, 0x00080104})
BY_2020 = {
    "hash_uid": "uid",
    "shift_date": "shift",
    "hash_digits_8": "accession",
    "pseudonym": "patient",
    "set_YES": "write",
    "set_text": "write",
    "append_codes": "write",
}
DECISIONS = {
    0x00080016: ("keep", "the kind of object; an unregistered one is refused before"),
    0x00080104: ("clean", "free text beside a code"),
    0x00080105: ("remove", "goes with the context group's version"),
    0x00080106: ("remove", "a date that is not the patient's must not look like one"),
    0x00080107: ("remove", "a date that is not the patient's must not look like one"),
    0x0008010C: ("remove", "belongs to the coding scheme identification, which goes"),
    0x0008010D: ("remove", "goes with the context group's version"),
    0x0008010F: ("remove", "goes with the context group's version"),
    0x00080112: ("remove", "belongs to the coding scheme identification, which goes"),
    0x00081115: ("keep", "references still resolve after mapping"),
    0x00081140: ("keep", "PS3.15 U*: references still resolve after mapping; Type 2 in Enhanced CT"),
    0x00081155: ("uid", "PS3.15 U: references still resolve after mapping"),
    0x00081030: ("clean", "2020 body text keeps it; cleaned"),
    0x0008103E: ("clean", "2020 body text keeps it; cleaned"),
    0x00082112: ("keep", "PS3.15 U*: references still resolve after mapping; Type 2 in Enhanced CT"),
    0x00083010: ("uid", "PS3.15 U; Type 1 in Enhanced CT"),
    0x00100030: ("empty", "an exact age would survive a shift"),
    0x00100040: ("keep", "2020: patient characteristics"),
    0x00101010: ("age", "2020: patient characteristics; over 89 becomes 090Y"),
    0x00101020: ("keep", "2020: patient characteristics"),
    0x00101030: ("keep", "2020: patient characteristics"),
    0x00102160: ("keep", "2020: patient characteristics"),
    0x001021A0: ("keep", "2020: patient characteristics"),
    0x00102203: ("remove", "no patient characteristic of the 2020 list"),
    0x001021C0: ("remove", "no patient characteristic of the 2020 list"),
    0x00120062: ("write", "PS3.15 E.1.1"),
    0x00120063: ("write", "PS3.15 E.1.1"),
    0x00120064: ("write", "PS3.15 E.1.1"),
    **dict.fromkeys(range(0x00080300, 0x0008030E), ("remove", "describes private elements, which go")),
    0x00180010: ("clean", "PS3.15 with Clean Descriptors; Type 2"),
    0x001811BB: ("clean", "PS3.15 with Clean Descriptors"),
    0x00181803: ("remove", "a network address"),
    0x00280303: ("write", "PS3.15 E.3.6: dates are MODIFIED"),
    0x00282000: ("remove", "a colour profile holds free text, and these images have no colour"),
    0x004008EA: ("keep", "PS3.3: units of real world values"),
    0x00400555: ("empty", "PS3.15 X/Z; Type 2 in DX and Enhanced CT"),
    0x0040A170: ("keep", "PS3.3: purpose of a reference"),
    0x00540220: ("keep", "PS3.3: Type 1 in DX"),
    0x00540222: ("keep", "PS3.3: modifies the view"),
    0x00540410: ("keep", "PS3.3: patient orientation"),
    0x00540412: ("keep", "PS3.3: patient orientation"),
    0x20500020: ("keep", "PS3.3: Type 1 in DX"),
    0x7FE00001: ("keep", "PS3.5 A.4: goes with encapsulated pixels"),
    0x7FE00002: ("keep", "PS3.5 A.4: goes with encapsulated pixels"),
    **dict.fromkeys(
        (0x7FE00008, 0x7FE00009, 0x7FE00020, 0x7FE00030, 0x7FE00040),
        ("remove", "a second picture that nobody looks at for text"),
    ),
    0x7FE00010: ("keep", "the image"),
}


class Facts(NamedTuple):
    """What the folder of facts says, by tag number."""

    appendix: Mapping[int, str]
    standard: Mapping[int, tuple[str, frozenset[str]]]
    kept: frozenset[int]  # by the RSNA Anonymizer 19
    required: Mapping[int, frozenset[str]]  # kinds of image in which an attribute has Type 1 or 1C
    used: frozenset[int]  # by any of these kinds of image


Decider = Callable[[int, str, str, Facts], tuple[str, str]]  # tag, keyword, VR -> action, source


def tag_number(text: str) -> int:
    """`(0008,103E)` or `0008103E` as a number."""
    return int(text.strip("()").replace(",", ""), 16)


def read_facts(folder: Path) -> Facts:
    """Read the three files of `folder`."""
    ricord = yaml.safe_load((folder / "ricord_protocol_facts.yaml").read_text(encoding="utf-8"))
    table = yaml.safe_load((folder / "ps3_15_table_facts.yaml").read_text(encoding="utf-8"))
    with (folder / "iod_attribute_types.csv").open(encoding="utf-8", newline="") as file:
        types = [row for row in csv.DictReader(file) if row["tag"]]
    unchanged = ricord["v19_kept_unchanged"]
    return Facts(
        appendix={tag_number(row["tag"]): row["action"] for row in ricord["appendix_1"]},
        standard={
            tag_number(row["tag"]): (row["basic_2026c"], frozenset(row.get("options_2024b") or ()))
            for row in table["rows"]
        },
        kept=frozenset(int(group + element, 16) for group in unchanged for element in unchanged[group].split()),
        required=_required(types),
        used=frozenset(tag_number(row["tag"]) for row in types),
    )


def decide(tag: int, keyword: str, vr: str, facts: Facts) -> tuple[str, str]:
    """The action of one attribute, and why; the first source that names it decides."""
    group = tag >> 16
    if tag in DECISIONS:
        return DECISIONS[tag][0], f"decision: {DECISIONS[tag][1]}"
    if group == TRIAL:
        return "remove", "decision: the clinical trial modules go whole, so that no Type 1 attribute is left empty"
    if tag in facts.appendix:
        return BY_2020.get(facts.appendix[tag], facts.appendix[tag]), "2020 appendix"
    if group not in KEPT_GROUPS and tag not in REAL_WORLD_VALUES:
        return "remove", "2020: groups 0032 to 4008, or no group of these images"
    if tag in facts.standard:
        return _by_standard(vr, *facts.standard[tag])
    return _by_use(tag, keyword, vr, facts)


def build(
    facts: Facts, dictionary: Mapping[int, tuple[str, str]], decider: Decider = decide, extra: Iterable[int] = ()
) -> list[tuple[str, ...]]:
    """All rows of a table, in order of tag: of every attribute that the facts name, and of `extra`."""
    tags = set(DECISIONS) | set(facts.appendix) | set(facts.standard) | facts.kept | facts.used | set(extra)
    rows: list[tuple[str, ...]] = []
    for tag in sorted(tag for tag in tags if tag in dictionary and tag >> 16 not in {0, 2, 4, 0xFFFE}):
        keyword, vr = dictionary[tag]
        action, source = decider(tag, keyword, vr, facts)
        required = "" if action in {"remove", "write"} else " ".join(sorted(facts.required.get(tag, ())))
        rows.append((f"{tag:08X}", keyword, vr, action, required, source))
    return rows


def _by_standard(vr: str, basic: str, options: frozenset[str]) -> tuple[str, str]:
    """PS3.15 Table E.1-1 with Retain Longitudinal Modified Dates; a dummy is an emptied value."""
    source = f"PS3.15 2026c {basic}"
    if "retain_modified_dates" in options:
        return {"DA": "shift", "DT": "shift", "TM": "keep"}.get(vr, "remove"), source + " with modified dates"
    if basic == "U":
        return "uid", source
    return ("remove" if basic.startswith("X") else "empty"), source


def _by_use(tag: int, keyword: str, vr: str, facts: Facts) -> tuple[str, str]:
    """An attribute that no de-identification text names: kept by value representation if the images need it."""
    if vr in FREE_TEXT:
        return "remove", "decision: no free text is kept"
    if tag not in facts.kept and tag >> 16 == PATIENT:
        return "remove", "no patient characteristic of the 2020 list"
    source = "RSNA Anonymizer 19 keeps it" if tag in facts.kept else "PS3.3: attribute of CT, CR, DX or Enhanced CT"
    action = {"UI": "uid", "DA": "shift", "DT": "shift"}.get(vr, "keep")
    return "clean" if vr in {"LO", "SH"} and DESCRIPTIVE.search(keyword) else action, source


def _required(types: Iterable[Mapping[str, str]]) -> dict[int, frozenset[str]]:
    required: dict[int, set[str]] = {}
    for row in types:
        tag = tag_number(row["tag"])
        path = row["sequence_path"]
        placed = not path or "FunctionalGroups" in path or tag in CODE_PARTS or tag >> 16 == ACQUISITION
        if row["type"] in {"1", "1C"} and row["module_usage"] != "U" and placed:
            required.setdefault(tag, set()).add(KINDS[row["iod"]])
    return {tag: frozenset(kinds) for tag, kinds in required.items()}
