"""Enter what was received into the ledger, once: what is there already is a duplicate, what is new is taken.

More files of a study that is still on its way send it back to its start, whole. Files that come after their study was
sealed are quarantined: what the coordinator may already hold is not changed behind a person's back.
"""

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from shared.frozen import Frozen
from shared.ids import StudyKey
from site_node.home.folder import SiteHome
from site_node.home.ledger import ARRIVED_LATE, OTHER_BYTES, SENT_OR_SEALED, Ledger, State
from site_node.home.records import Records
from site_node.node.conflicts import contradicting, keep_apart, remove_copies, withdraw
from site_node.node.open import Node
from site_node.receive.folder import MIXED_PATIENTS, NO_PATIENT_ID, Reception, receive_folder
from site_node.receive.reading import RefusedFile
from site_node.study import Ending, Instance, Reason, Received

REFUSED_FILES = "files.jsonl"


class Intake(Frozen):
    """What one reception brought."""

    studies: int  # entered, or entered anew with more files
    instances: int  # that were not there before
    duplicates: int
    late: int  # instances of studies that had already left
    files: dict[str, int]  # files that became part of no study, by reason code


def receive_source(node: Node, source: Path) -> Intake:
    """Receive one source into an open home; raises `DiskNearlyFull` and what `receive_folder` raises."""
    node.free_space.check()
    reception = receive_folder(source, node.home.spool, node.stages.pseudonyms)
    return enter_reception(reception, home=node.home, ledger=node.ledger)


def enter_reception(reception: Reception, *, home: SiteHome, ledger: Ledger) -> Intake:
    """Enter a reception; repeating it, after a kill or by hand, changes nothing more."""
    counts: defaultdict[str, int] = defaultdict(int)
    for versions in reception.conflicts:
        withdraw(versions.key, versions.instances, home, ledger)
        record = Records(home).find(versions.key, Received)  # of a study that has left it stays as it is
        ours = {instance.path for instance in record.instances} if record else frozenset()
        remove_copies(instance for instance in versions.instances if instance.path not in ours)
    for study in reception.studies:
        for name, count in _enter_study(study, reception.held.get(study.key), home, ledger).items():
            counts[name] += count
    _note_files(reception.refused, home, ledger)
    codes: defaultdict[str, int] = defaultdict(int)
    for one in reception.refused:
        codes[one.reason.code] += 1
    counts["duplicates"] += reception.duplicates
    return Intake(
        studies=counts["studies"],
        instances=counts["instances"],
        duplicates=counts["duplicates"],
        late=counts["late"],
        files=dict(codes),
    )


def _enter_study(study: Received, held: Reason | None, home: SiteHome, ledger: Ledger) -> dict[str, int]:
    """One study of a reception; the counts it adds."""
    arrived = {instance.path.stem: instance for instance in study.instances}
    known = ledger.names(study.key)
    new = [name for name in arrived if name not in known]
    again = {"duplicates": len(arrived) - len(new)}
    if not ledger.has_study(study.key):
        _start(study, held, home, ledger)
    elif ledger.study(study.key).state in SENT_OR_SEALED and new:
        _hold([arrived[name] for name in new], ARRIVED_LATE, study.key, home, ledger)
        _drop_copies(study.key, home, ledger)
        return {**again, "late": len(new)}
    elif new or contradicting(study, home):
        held = _join(study, held, home, ledger)
    else:
        _drop_copies(study.key, home, ledger)
        return again
    return {**again, "studies": 1, "instances": len(new)}


def _start(study: Received, held: Reason | None, home: SiteHome, ledger: Ledger) -> None:
    """Write the study's record, then enter it; one that a person must see first is quarantined at once."""
    Records(home).write(study.key, study)
    names = [instance.path.stem for instance in study.instances]
    state = State.QUARANTINED if held else State.RECEIVED
    ledger.add_study(study.key, names, state=state, reasons=(held,) if held else ())


def _join(study: Received, held: Reason | None, home: SiteHome, ledger: Ledger) -> Reason | None:
    """Enter a study anew with what it had and what came; versions of one instance that differ are quarantined."""
    if versions := contradicting(study, home):
        _hold(versions, OTHER_BYTES, study.key, home, ledger)
        withdraw(study.key, versions, home, ledger)
    before = Records(home).find(study.key, Received)
    if before is None:  # it was excluded or refused, and its copies are gone: it starts with what came
        _start(study, held, home, ledger)
        return held
    spoilt = ledger.names(study.key, OTHER_BYTES)
    files = {
        one.path.stem: one
        for one in (*before.instances, *study.instances)
        if one.path.stem not in spoilt and one.path.exists()
    }
    identity = study.identity if study.identity == before.identity else None
    if identity is None and held is None:
        held = NO_PATIENT_ID if study.identity is before.identity is None else MIXED_PATIENTS
    if files:
        joined = study.model_copy(update={"identity": identity, "instances": tuple(files.values())})
        _start(joined, held, home, ledger)
    return held


def _hold(instances: Sequence[Instance], code: str, key: StudyKey, home: SiteHome, ledger: Ledger) -> None:
    """Quarantine images that become no part of their study, and tell the person who looks where they are."""
    keep_apart((one.path for one in instances), home)
    ledger.hold_instances(key, [one.path.stem for one in instances], code)
    _list_files([(f"quarantine/arrivals/{one.path.name}", code) for one in instances], home)
    remove_copies(instances)


def _drop_copies(key: StudyKey, home: SiteHome, ledger: Ledger) -> None:
    """Remove from the spool what was only just copied there, where the study's originals are gone."""
    if Records(home).find(key, Received) is None and ledger.study(key).state.ending is not Ending.WAITING:
        shutil.rmtree(home.spool / key, ignore_errors=True)


def _note_files(files: Iterable[RefusedFile], home: SiteHome, ledger: Ledger) -> None:
    """Count the files in the ledger, and keep their names for the person who looks, where PHI may lie."""
    listed = tuple(files)
    ledger.add_files((one.source, one.ending, one.reason.code) for one in listed)
    _list_files([(one.source, one.reason.code) for one in listed], home)


def _list_files(listed: Sequence[tuple[str, str]], home: SiteHome) -> None:
    """Append to quarantine/files.jsonl: a name, PHI, and the code of a reason."""
    if listed:
        handle = os.open(home.quarantine / REFUSED_FILES, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(
                json.dumps({"source": name, "code": code}, ensure_ascii=False) + "\n" for name, code in listed
            )
