"""Which private elements a profile keeps: those of a creator it lists, in the block that the creator reserved there."""

from shared.protocol.private import BLOCKS
from shared.protocol.profile import Profile, Rule
from site_node.dicom.elements import Elements, bytes_of


def private_rule(profile: Profile, creators: Elements, tag: int) -> Rule | None:
    """The rule of a private element; `None` where it is removed.

    Args:
        profile: with its list of safe elements.
        creators: the data set of the element, with its private creators.
        tag: of the element.
    """
    group, block = tag >> 16, (tag & 0xFFFF) >> 8
    if block not in BLOCKS:
        return None
    return profile.block_rules(group, block, creator_at(creators, group, block)).get(tag)


def safe_creator(profile: Profile, creators: Elements, tag: int) -> str:
    """The creator that a data element names, if it is one the profile lists; else empty."""
    group, block = tag >> 16, tag & 0xFFFF
    if block not in BLOCKS:
        return ""
    creator = creator_at(creators, group, block)
    return creator if profile.block_rules(group, block, creator) else ""


def creator_at(creators: Elements, group: int, block: int) -> str:
    """Who reserved a block; empty if nobody did."""
    return bytes_of(creators, group << 16 | block).decode("latin-1").strip(" \0")
