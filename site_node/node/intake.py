"""Enter a reception into the ledger, once: known instances are duplicates, new ones are added.

More files of a study that is not sealed yet send it, whole, back to its first stage, also from the middle of one. Files
that come too late are quarantined: after their study was sealed, since the coordinator may already have it, and after
its originals were deleted and it may still go on, since it goes on only with all of its images.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from shared.durable import append
from shared.frozen import Frozen
from shared.ids import StudyKey
from site_node.home.folder import SiteHome
from site_node.home.ledger import ARRIVED_LATE, OTHER_BYTES, SENT_OR_SEALED, Ledger, State
from site_node.home.records import Records
from site_node.node.conflicts import (
    conflicting_instances,
    copy_to_quarantine,
    images_to_enter,
    remove_from_spool,
    unsettled_versions,
    withdraw,
)
from site_node.node.open import Node
from site_node.reasons import reason_for
from site_node.receive.folder import MIXED_PATIENTS, Reception, receive_folder
from site_node.receive.refusals import RefusedFile
from site_node.study import Ending, Instance, Reason, Received

REFUSED_FILES = "files.jsonl"


class Intake(Frozen):
    """The counts of one reception."""

    studies: int  # new, or with new files
    instances: int  # new ones
    duplicates: int
    late: int  # instances of studies that were already sealed, or whose other originals are deleted
    files: dict[str, int]  # files that belong to no study, by reason code


def receive_source(
    node: Node,
    source: Path,
    *,
    on_file: Callable[[], object] = lambda: None,
    waits: Callable[[], object] | None = None,
) -> Intake:
    """Receive one source into an open home, as the only one who receives; `waits` is as in `SiteHome.receiving`.

    Raises `DiskNearlyFull`, `HomeBusy` and what `receive_folder` raises.
    """
    with node.home.receiving(waits):
        node.free_space.check()
        reception = receive_folder(source, node.home.spool, node.stages.names, on_file=on_file)
        return enter_reception(reception, home=node.home, ledger=node.ledger)


def enter_reception(reception: Reception, *, home: SiteHome, ledger: Ledger) -> Intake:
    """Enter a reception; repeating it, after a kill or by hand, changes nothing more."""
    counts: Counter[str] = Counter()
    codes = Counter(file.reason.code for file in reception.refused if file.reason.code != OTHER_BYTES)
    known = [versions for versions in reception.conflicts if ledger.has_study(versions.key)]
    for enter in (
        *(partial(_hold_versions, versions) for versions in known),
        *(partial(_enter_study, study, reception.held.get(study.key)) for study in reception.studies),
        *(partial(_hold_versions, versions) for versions in reception.conflicts if versions not in known),
    ):
        with home.changing():
            counts.update(enter(home, ledger))
    _note_files(reception.refused, home, ledger)
    if counts[OTHER_BYTES]:
        codes[OTHER_BYTES] = counts[OTHER_BYTES]
    return Intake(
        studies=counts["studies"],
        instances=counts["instances"],
        duplicates=counts["duplicates"] + reception.duplicates,
        late=counts["late"],
        files=dict(codes),
    )


def _hold_versions(versions: Received, home: SiteHome, ledger: Ledger) -> dict[str, int]:
    """Quarantine versions of images that came together, for a person to choose; return the counts they add.

    Their study, unless it is sealed, goes on without these images, or waits where it has no others.
    """
    key = versions.key
    counts: dict[str, int] = {}
    if _is_too_late(versions, home, ledger):
        known = ledger.names(key)
        new = [instance for instance in versions.instances if instance.name not in known]
        _quarantine_instances(new, ARRIVED_LATE, key, home, ledger)
        counts["late"] = len(new)
    elif new := unsettled_versions(versions, home, ledger):
        if not ledger.has_study(key):
            _enter_whole(versions, reason_for(OTHER_BYTES), home, ledger)
        _quarantine_instances(new, OTHER_BYTES, key, home, ledger)
        withdraw(key, new, home, ledger)
        counts[OTHER_BYTES] = len(new)
    record = Records(home).find(key, Received)
    recorded = {instance.path for instance in record.instances} if record else frozenset()
    remove_from_spool(instance for instance in versions.instances if instance.path not in recorded)
    return counts


def _enter_study(study: Received, held_reason: Reason | None, home: SiteHome, ledger: Ledger) -> dict[str, int]:
    """Enter one study of a reception; return the counts it adds."""
    images = images_to_enter(study, home, ledger)
    known, late = ledger.names(study.key), ledger.names(study.key, ARRIVED_LATE)
    is_too_late = _is_too_late(study, home, ledger)
    if not is_too_late:
        known -= late  # with the others they can join after all
    arrived = {instance.name: instance for instance in images}
    new = [name for name in arrived if name not in known]
    duplicates = {"duplicates": len(study.instances) - len(new)}
    if not images:
        return duplicates
    study = study.model_copy(update={"instances": images})
    if not ledger.has_study(study.key):
        _enter_whole(study, held_reason, home, ledger)
    elif new and is_too_late:
        _quarantine_instances([arrived[name] for name in new], ARRIVED_LATE, study.key, home, ledger)
        _drop_copies(study.key, home, ledger)
        return {**duplicates, "late": len(new)}
    elif new or conflicting_instances(study, home):
        _merge(study, held_reason, home, ledger)
        for name in late & arrived.keys():
            (home.quarantine / "arrivals" / arrived[name].path.name).unlink(missing_ok=True)
    else:
        _drop_copies(study.key, home, ledger)
        return duplicates
    return {**duplicates, "studies": 1, "instances": len(new)}


def _is_too_late(study: Received, home: SiteHome, ledger: Ledger) -> bool:
    """Whether new images cannot join their study any more.

    They join one that ended and may go on, or is sealed next, if its other images are here or come with them. One that
    was refused, by a person or for what its images are, begins anew with what comes; its images that are deleted end
    as they did.
    """
    entry = ledger.study(study.key) if ledger.has_study(study.key) else None
    if entry is None or not (entry.goes_on_whole or entry.state is State.VALIDATED):
        return entry is not None and entry.state in SENT_OR_SEALED
    apart, arrived = ledger.held_apart(study.key), {instance.name for instance in study.instances}
    is_whole = Records(home).has_originals(study.key, apart=apart) or ledger.names(study.key) - apart <= arrived
    return not is_whole


def _enter_whole(study: Received, held_reason: Reason | None, home: SiteHome, ledger: Ledger) -> None:
    """Write the study's record, then enter it; one that a person must see first is quarantined at once."""
    Records(home).write(study.key, study)
    names = [instance.name for instance in study.instances]
    state = State.QUARANTINED if held_reason else State.RECEIVED
    ledger.add_study(study.key, names, state=state, reasons=(held_reason,) if held_reason else ())


def _merge(study: Received, held_reason: Reason | None, home: SiteHome, ledger: Ledger) -> None:
    """Enter a study again with its previous and new instances; conflicting versions of one are quarantined."""
    if versions := conflicting_instances(study, home):
        _quarantine_instances(versions, OTHER_BYTES, study.key, home, ledger)
        withdraw(study.key, versions, home, ledger)
    record = Records(home).find(study.key, Received)
    if record is None:  # its copies are deleted: it begins with those that came
        _enter_whole(study, held_reason, home, ledger)
        return
    conflicting = ledger.names(study.key, OTHER_BYTES)
    instances = {
        instance.name: instance
        for instance in (*record.instances, *study.instances)
        if instance.name not in conflicting and instance.path.exists()
    }
    identity = study.identity if study.identity == record.identity else None
    if identity is None and held_reason is None:
        held_reason = MIXED_PATIENTS  # without a patient ID it is held already
    if instances:
        merged = study.model_copy(update={"identity": identity, "instances": tuple(instances.values())})
        _enter_whole(merged, held_reason, home, ledger)


def _quarantine_instances(
    instances: Sequence[Instance], code: str, key: StudyKey, home: SiteHome, ledger: Ledger
) -> None:
    """Quarantine images apart from their study, and list where they lie for the person who looks."""
    copy_to_quarantine((instance.path for instance in instances), home)
    ledger.hold_instances(key, [instance.name for instance in instances], code)
    _list_files([(f"quarantine/arrivals/{instance.path.name}", code) for instance in instances], home)
    remove_from_spool(instances)


def _drop_copies(key: StudyKey, home: SiteHome, ledger: Ledger) -> None:
    """Remove fresh copies from the spool, where the study has ended and its originals are deleted."""
    if Records(home).find(key, Received) is None and ledger.study(key).state.ending is not Ending.WAITING:
        shutil.rmtree(home.spool / key, ignore_errors=True)


def _note_files(files: Iterable[RefusedFile], home: SiteHome, ledger: Ledger) -> None:
    """Count the files in the ledger, and list their names for a person in quarantine, where PHI may lie.

    Versions of an image are counted with their study.
    """
    listed = tuple(files)
    of_no_study = (file for file in listed if file.reason.code != OTHER_BYTES)
    ledger.add_files((file.source, file.ending, file.reason.code) for file in of_no_study)
    _list_files([(file.source, file.reason.code) for file in listed], home)


def _list_files(listed: Sequence[tuple[str, str]], home: SiteHome) -> None:
    """Append to quarantine/files.jsonl: a name, PHI, and the code of a reason."""
    if listed:
        lines = (json.dumps({"source": name, "code": code}, ensure_ascii=False) + "\n" for name, code in listed)
        text = "".join(lines).encode("utf-8", "backslashreplace")
        append(home.quarantine / REFUSED_FILES, text, mode=0o600)
