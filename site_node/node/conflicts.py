"""Images in conflict with each other, or too late for their study: copied to quarantine, never lost.

The study's record is written last: until then the same images, received again after a kill, are in conflict again.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from shared.durable import link_or_copy, sync_folder
from shared.ids import StudyKey
from site_node.dicom.differences import differences
from site_node.home.folder import SiteHome
from site_node.home.ledger import NOT_CHOSEN, OTHER_BYTES, SENT_OR_SEALED, Ledger, State
from site_node.home.records import Records
from site_node.reasons import reason_for
from site_node.study import Instance, Received


def copy_to_quarantine(files: Iterable[Path], home: SiteHome) -> None:
    """Link or copy files durably to quarantine/arrivals: after a transfer there may be no other copy."""
    target = home.quarantine / "arrivals"
    target.mkdir(exist_ok=True, mode=0o700)
    for file in files:
        with suppress(FileExistsError, FileNotFoundError):  # a previous try, cut short by a kill, did it
            link_or_copy(file, target / file.name, mode=0o600)
    sync_folder(target)


def remove_from_spool(instances: Iterable[Instance]) -> None:
    """Remove the instances' files from the spool."""
    for instance in instances:
        instance.path.unlink(missing_ok=True)


def images_to_enter(study: Received, home: SiteHome, ledger: Ledger) -> tuple[Instance, ...]:
    """The instances of `study` but those that are a recorded image in another encoding, or that no person chose.

    The copies of these are removed: what was received first stays.
    """
    record = Records(home).find(study.key, Received)
    recorded = {instance.sop_instance_uid: instance for instance in record.instances} if record else {}
    not_chosen = ledger.names(study.key, NOT_CHOSEN)

    def is_here(new: Instance) -> bool:
        old = recorded.get(new.sop_instance_uid, new)
        if new.name in not_chosen:
            return old.name != new.name
        return old.name != new.name and old.path.exists() and not differences(old.path, new.path)

    known = [instance for instance in study.instances if is_here(instance)]
    remove_from_spool(known)
    return tuple(instance for instance in study.instances if instance not in known)


def conflicting_instances(study: Received, home: SiteHome) -> tuple[Instance, ...]:
    """The instances of `study` that are other versions of an image in its record."""
    record = Records(home).find(study.key, Received)
    recorded = {instance.sop_instance_uid: instance.name for instance in record.instances} if record else {}
    return tuple(new for new in study.instances if recorded.get(new.sop_instance_uid, new.name) != new.name)


def unsettled_versions(versions: Received, home: SiteHome, ledger: Ledger) -> list[Instance]:
    """Those of several versions that came together which are not in the study's record, and not left by a choice."""
    record = Records(home).find(versions.key, Received)
    recorded = {instance.name for instance in record.instances} if record else frozenset()
    settled = ledger.names(versions.key, NOT_CHOSEN) | (recorded - ledger.names(versions.key, OTHER_BYTES))
    return [instance for instance in versions.instances if instance.name not in settled]


def withdraw(key: StudyKey, versions: Sequence[Instance], home: SiteHome, ledger: Ledger) -> None:
    """Quarantine the images of which `versions` arrived, and let the study, unless sealed, go on without them."""
    record = Records(home).find(key, Received) if ledger.has_study(key) else None
    if record is None or ledger.study(key).state in SENT_OR_SEALED:
        return
    uids = {instance.sop_instance_uid for instance in versions}
    withdrawn = [instance for instance in record.instances if instance.sop_instance_uid in uids]
    remaining = tuple(instance for instance in record.instances if instance.sop_instance_uid not in uids)
    if not withdrawn:
        return
    copy_to_quarantine((instance.path for instance in withdrawn), home)
    if remaining:
        entry = ledger.study(key)
        state = State.QUARANTINED if entry.state is State.QUARANTINED else State.RECEIVED
        reasons = entry.reasons if state is State.QUARANTINED else ()
        ledger.add_study(key, [instance.name for instance in remaining], state=state, reasons=reasons)
    else:  # no image of it can be trusted
        ledger.advance(key, State.QUARANTINED, reasons=(reason_for(OTHER_BYTES),))
    ledger.hold_instances(key, [instance.name for instance in withdrawn], OTHER_BYTES)
    if remaining:
        Records(home).write(key, record.model_copy(update={"instances": remaining}))
    remove_from_spool(withdrawn)
