"""Try a study again that an error refused, or that a defect put into quarantine."""

import re

from shared.errors import InvalidArgument, NotFound
from shared.ids import StudyKey
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State, StudyEntry
from site_node.home.records import Records
from site_node.study import Received, Sealed

_OF_A_DEFECT = frozenset({"internal-error", "too-large", "worker-died"})


def retry(home: SiteHome, ledger: Ledger, reference: str, *, actor: str) -> StudyKey:
    """Send a study back to the stage where it stopped; return its key, which starts with `reference`.

    One that stopped at submission is sealed again, which changes nothing unless agreement or curator changed. Where the
    files of that stage are deleted the study goes back to its first stage. It is kept that `actor` decided so.
    Raises `NotFound`, and `InvalidArgument` where its originals are deleted, too.
    """
    with home.changing(), ledger.changing():
        entry = _retriable(ledger, reference)
        state, source = _place(entry, home, ledger), Records(home).find(entry.key, Received)
        if state is State.RECEIVED and source is not None:
            names = frozenset(instance.name for instance in source.instances)
        else:
            names = ledger.names(entry.key, entry.lead)  # the others were left out before
        ledger.audit(actor, "retry", entry.key, f"after {entry.lead}, from {state.value}")
        ledger.reopen(entry.key, (), names, state=state)
    return entry.key


def _retriable(ledger: Ledger, reference: str) -> StudyEntry:
    if not re.fullmatch(r"[0-9a-f]{8,32}", reference):
        raise InvalidArgument(name="--retry", problem="give the study's key, or at least its first eight digits")
    entries = [
        entry
        for entry in ledger.studies(State.REFUSED, State.QUARANTINED)
        if entry.key.startswith(reference) and (entry.state is State.REFUSED or entry.lead in _OF_A_DEFECT)
    ]
    if len(entries) != 1:
        raise NotFound(kind="refused study, or one that a defect stopped,", name=reference)
    return entries[0]


def _place(entry: StudyEntry, home: SiteHome, ledger: Ledger) -> State:
    """The state from which the study can go on with the files that are here."""
    records = Records(home)
    sealed, has_output = records.find(entry.key, Sealed), records.has_output(entry.key)
    has_originals = records.has_originals(entry.key, apart=ledger.held_apart(entry.key))
    if entry.stopped in {State.VALIDATED, State.SEALED} and has_output:
        return State.VALIDATED
    if entry.stopped is State.SEALED and sealed is not None and all(file.exists() for file in sealed.files):
        return State.SEALED
    if entry.stopped is State.DEIDENTIFIED and has_output and has_originals:
        return State.DEIDENTIFIED
    if has_originals:
        return State.INCLUDED if entry.stopped is State.INCLUDED else State.RECEIVED
    raise InvalidArgument(name="--retry", problem="the study's files are deleted; receive it again")
