"""The `tcia` table: what the curators of The Cancer Imaging Archive and the MIDI-B benchmark want kept.

PS3.15 Table E.1-1 with the options Clean Descriptors, Retain Longitudinal Temporal Information Modified Dates, Retain
Patient Characteristics and Retain Device Identity, on more kinds of image. Attributes that the Standard does not name
are kept if they describe acquisition, geometry or radiopharmaceutical in numbers and codes, not in unbounded free text.
"""

from collections.abc import Iterable

from shared.protocol.build_deidentify import DECISIONS, DESCRIPTIVE, FREE_TEXT, PATIENT, Facts, decide
from shared.protocol.rules import PROSE

ACQUISITION_GROUPS = frozenset({0x0018, 0x0054})  # every attribute of the dictionary in them is listed
_DEVICE_GROUPS = frozenset({0x0008, 0x0018})  # in other groups a station's name is a place in the hospital
_IMAGE_GROUPS = ACQUISITION_GROUPS | {0x0008, PATIENT, 0x0020, 0x0028, 0x0032, 0x0040}
_DOCUMENTS = range(0x0040A000, 0x00410000)  # content items, templates, documents
_NUMBERED = frozenset({0x00080050, 0x00100010, 0x00100020})  # get keyed numbers, as in every profile
_OPAQUE = frozenset({"OB", "OW", "OB or OW", "US or SS or OW"})
_NEVER = frozenset({0x00084000})  # IdentifyingComments
_EXAMINED = frozenset({0x00089208, 0x00089209, 0x00400275, 0x00400318})  # which IODs require or programs check for
_OURS = frozenset(DECISIONS) - {0x00102203, 0x001021C0}  # PS3.15 retains both as patient characteristics


def decide_tcia(tag: int, keyword: str, vr: str, facts: Facts) -> tuple[str, str]:
    """The action of one attribute, and why: as in `ricord`, an option of PS3.15, or that it describes the image."""
    action, source = decide(tag, keyword, vr, facts)
    if tag in _OURS:
        return action, source.replace("2020 body text keeps it; cleaned", "PS3.15 with Clean Descriptors")
    if tag in _NUMBERED:
        return action, "decision: a keyed pseudonym"
    if tag in _EXAMINED:
        return (
            "keep",
            "decision: PS3.3 has it in MR, PET and DX objects; what an item of a sequence holds has its own row",
        )
    if tag in facts.standard:
        basic, options = facts.standard[tag]
        option = _option(tag, vr, basic, options) if tag >> 16 in _IMAGE_GROUPS and tag not in _DOCUMENTS else None
        return option or (action, source.replace("2020 appendix", f"PS3.15 2026c {basic}"))
    if action == "remove" and tag >> 16 in ACQUISITION_GROUPS and tag not in facts.appendix:
        return _described(keyword, vr)
    return action, source


def extra_tags(dictionary: Iterable[int]) -> frozenset[int]:
    """The attributes that the table lists besides those of the facts."""
    return frozenset(tag for tag in dictionary if tag >> 16 in ACQUISITION_GROUPS) | _EXAMINED


def _option(tag: int, vr: str, basic: str, options: frozenset[str]) -> tuple[str, str] | None:
    """The action of an attribute by an option of PS3.15; `None` where none of ours applies."""
    source = f"PS3.15 2026c {basic}"
    if "retain_modified_dates" in options and vr in {"DA", "DT", "TM"}:
        return "keep" if vr == "TM" else "shift", f"{source} with modified dates"
    if basic == "U":
        return "uid", source
    if (
        "clean_descriptors" in options
        and tag not in _NEVER
        and (vr in PROSE or (vr in {"LO", "SH"} and tag >> 16 != PATIENT))
    ):
        return "clean", f"{source} with Clean Descriptors"
    if "retain_patient" in options and vr in {"CS", "DS", "US", "SH"}:
        return "keep", f"{source} with Retain Patient Characteristics"
    if "retain_device" in options and vr in {"CS", "LO", "SH"} and tag >> 16 in _DEVICE_GROUPS:
        return "device" if vr != "CS" else "keep", f"{source} with Retain Device Identity"
    return None


def _described(keyword: str, vr: str) -> tuple[str, str]:
    """The action of an attribute that no text on de-identification names."""
    if (vr in FREE_TEXT and vr not in PROSE) or vr in _OPAQUE:
        return "remove", "decision: no names, addresses and opaque bytes are kept"
    action = {"UI": "uid", "DA": "shift", "DT": "shift"}.get(vr, "keep")
    source = "describes the image; PS3.15 does not name it"
    return "clean" if vr in PROSE or (vr in {"LO", "SH"} and DESCRIPTIVE.search(keyword)) else action, source
