"""Try a study again that an error refused, or that a defect put into quarantine."""

from shared.errors.inputs import InvalidArgument
from shared.ids import StudyKey
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State, StudyEntry
from site_node.home.records import Records
from site_node.home.references import study_named
from site_node.study import Received, Sealed

_OF_A_DEFECT = frozenset({"internal-error", "too-large", "worker-died"})


def retry(home: SiteHome, ledger: Ledger, reference: str, *, actor: str) -> StudyKey:
    """Send a study back to the stage where it stopped; return its key.

    One that stopped at submission is sealed again, which changes nothing unless agreement or curator changed. Where the
    files of that stage are deleted the study goes back to its first stage. It is kept that `actor` decided so.
    Raises what `study_named` raises, and `InvalidArgument` where its originals are deleted, too.
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
    stopped = ledger.studies(State.REFUSED, State.QUARANTINED)
    entries = [entry for entry in stopped if entry.state is State.REFUSED or entry.lead in _OF_A_DEFECT]
    return study_named(entries, reference, kind="refused or defective study")


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
