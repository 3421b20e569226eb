"""Which edition of the protocol is installed at a site, and what it changes there."""

from collections.abc import Iterator

from shared.errors.protocol import EditionNotCovered
from site_node.explain.editions import changes, statements_of
from site_node.home.editions import KeptEditions
from site_node.node.open import Node


def changes_here(node: Node) -> Iterator[str]:
    """What the edition installed changes, a sentence each, after the editions that are compared."""
    protocol, kept = node.protocol, KeptEditions(node.home)
    others = [edition for edition in kept.all() if edition.edition.digest != protocol.digest]
    agreed = node.membership.protocol_digest if node.membership else kept.in_use
    before = next((edition for edition in others if edition.edition.digest == agreed), next(iter(others), None))
    yield standing_of_edition(node)
    if before is None:
        yield "This home has worked under no other edition, so there is none to compare it with."
        return
    named = "which the agreement names" if before.edition.digest == agreed else "the last one before it here"
    yield f"It is compared with edition {before.edition.edition}, {named}."
    yield from changes(before.statements, statements_of(protocol)) or ("Only notes or the order of its parts differ.",)


def standing_of_edition(node: Node) -> str:
    """Which edition is installed, whether the agreement covers it, and whether it is in use."""
    edition = node.edition
    installed = f"Edition {edition.edition} of {edition.protocol} is installed ({edition.digest[:16]}…)."
    if node.membership is not None and not node.membership.terms.covers(edition):
        return f"{installed} {EditionNotCovered(edition=edition.edition, protocol=edition.protocol).public}"
    covered = "This site is not enrolled" if node.membership is None else "The agreement covers it"
    is_used = KeptEditions(node.home).in_use == edition.digest
    return f"{installed} {covered}; it is in use{'' if is_used else ' from the next pass on'}."
