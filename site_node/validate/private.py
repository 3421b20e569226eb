"""Which private elements of a file its profile allows, determined anew from the creators in the file.

Independent of `site_node.deidentify.private` on purpose; the list of safe elements is the profile's.
"""

from shared.protocol.private import BLOCKS
from shared.protocol.profile import Action, Profile, Rule
from site_node.validate.elements import Document, Element, Path

CREATOR = "PrivateCreator"  # the keyword of a listed creator's rule
PrivateRules = dict[tuple[Path, int], Rule]


def safe_elements(document: Document, profile: Profile) -> PrivateRules:
    """The rules of the listed private elements and of their creators, by path and tag."""
    if not profile.safe:
        return {}
    candidates = [
        element for element in document.elements if element.tag >> 16 in profile.safe_groups and element.items < 0
    ]
    creators = {(element.path, element.tag): _name(element) for element in candidates if element.tag & 0xFFFF in BLOCKS}
    rules: PrivateRules = {}
    for path, tag, *_ in candidates:
        name = creators.get((path, tag))
        if name is not None:
            if profile.block_rules(tag >> 16, tag & 0xFFFF, name):
                rules[path, tag] = _creator(tag)
            continue
        block = (tag & 0xFFFF) >> 8
        creator = creators.get((path, tag & 0xFFFF0000 | block), "")
        rule = profile.block_rules(tag >> 16, block, creator).get(tag)
        if rule is not None:
            rules[path, tag] = rule
    return rules


def holds_any(rules: PrivateRules) -> bool:
    """Whether any of the rules is of an element that is not a creator."""
    return any(tag & 0xFFFF not in BLOCKS for _, tag in rules)


def _name(element: Element) -> str:
    return element.raw.decode("latin-1").strip(" \0")


def _creator(tag: int) -> Rule:
    return Rule(tag=tag, keyword=CREATOR, vrs=frozenset({"LO"}), action=Action.KEEP, source="PS3.5 section 7.8.1")
