"""Which private elements of a file its profile allows, found out anew from the creators that stand in the file."""

from shared.protocol.profile import Action, Profile, Rule
from site_node.validate.elements import Document, Element, Path

Places = dict[tuple[Path, int], Rule]
_BLOCKS = range(0x10, 0x100)  # where creators stand (PS3.5 section 7.8.1)


def safe_elements(document: Document, profile: Profile) -> Places:
    """The rules of the listed private elements, and of the creators they hang on, by where they stand."""
    if not profile.safe:
        return {}
    odd = [one for one in document.elements if one.tag >> 16 in profile.safe_groups and one.items < 0]
    creators = {(one.path, one.tag): _name(one) for one in odd if one.tag & 0xFFFF in _BLOCKS}
    found: Places = {}
    for one in odd:
        own = creators.get((one.path, one.tag))
        if own is not None:
            if profile.block_rules(one.tag >> 16, one.tag & 0xFFFF, own):
                found[one.path, one.tag] = _creator(one.tag)
            continue
        block = (one.tag & 0xFFFF) >> 8
        creator = creators.get((one.path, one.tag & 0xFFFF0000 | block), "")
        rule = profile.block_rules(one.tag >> 16, block, creator).get(one.tag)
        if rule is not None:
            found[one.path, one.tag] = rule
    return found


def holds_any(places: Places) -> bool:
    """Whether there is an element besides creators."""
    return any(tag & 0xFFFF not in _BLOCKS for _, tag in places)


def _name(element: Element) -> str:
    return element.raw.decode("latin-1").strip(" \0")


def _creator(tag: int) -> Rule:
    return Rule(
        tag=tag, keyword="PrivateCreator", vrs=frozenset({"LO"}), action=Action.KEEP, source="PS3.5 section 7.8.1"
    )
