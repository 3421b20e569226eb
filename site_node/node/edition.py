"""Going on under another edition of the protocol, where the agreement covers it."""

from datetime import UTC, datetime

import structlog

from site_node.explain.editions import changes, kept_edition
from site_node.home.editions import KeptEditions
from site_node.home.ledger import State
from site_node.home.records import Records
from site_node.home.words import NO_STUDY
from site_node.node.open import Node
from site_node.study import Received

log = structlog.get_logger(__name__)

_UNDER_AN_EDITION = (State.INCLUDED, State.DEIDENTIFIED, State.VALIDATED)


def begin_edition(node: Node) -> None:
    """Keep what the edition installed says, note it once, and begin with it: unless it is in use, or not covered.

    Studies under way begin again, since a study is made under one edition; those that are sealed or ended stay as they
    are. A kill in between is mended by the next call.
    """
    protocol, kept = node.protocol, KeptEditions(node.home)
    before = kept.in_use
    if before == protocol.digest or (node.membership and not node.membership.terms.covers(protocol.named)):
        return
    earlier = {edition.edition.digest: edition for edition in kept.all()}
    begun = kept_edition(protocol, datetime.now(UTC))
    kept.keep(begun)
    records, edition = Records(node.home), protocol.edition
    with node.home.changing(), node.ledger.changing():
        studies = node.ledger.studies(*_UNDER_AN_EDITION)
        for entry in studies:
            names = [instance.name for instance in records.read(entry.key, Received).instances]
            node.ledger.reopen(entry.key, (), names)
        if before in earlier:
            count = len(changes(earlier[before].statements, begun.statements))
            detail = f"{earlier[before].edition.edition} to {edition}, {protocol.digest}: {count} changes"
            node.ledger.audit("ricord-site", "edition", NO_STUDY, f"{detail}, {len(studies)} studies begin again")
            log.warning("edition.begun", edition=edition, digest=protocol.digest, changes=count, studies=len(studies))
    kept.use(protocol.digest)
