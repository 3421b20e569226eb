"""Images that contradict each other, or came when their study had left: kept where a person looks, never lost.

The study's record is written last: until then the same images, received again after a kill, are in conflict again.
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from shared.durable import replacing, sync_folder
from shared.ids import StudyKey
from site_node.home.folder import SiteHome
from site_node.home.ledger import OTHER_BYTES, SENT_OR_SEALED, Ledger, State
from site_node.home.records import Records
from site_node.receive.reading import refused
from site_node.study import Instance, Received


def keep_apart(files: Iterable[Path], home: SiteHome) -> None:
    """Have files durably in quarantine/arrivals as well: what came over the network may lie nowhere else."""
    place = home.quarantine / "arrivals"
    place.mkdir(exist_ok=True, mode=0o700)
    for file in files:
        with suppress(FileExistsError, FileNotFoundError):  # an earlier try, cut short by a kill, did it
            _copy(file, place / file.name)
    sync_folder(place)


def _copy(file: Path, to: Path) -> None:
    try:
        os.link(file, to)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:  # a file system without links
        with file.open("rb") as source, replacing(to, mode=0o600) as copy:
            shutil.copyfileobj(source, copy)


def remove_copies(instances: Iterable[Instance]) -> None:
    """Remove them from the spool."""
    for one in instances:
        one.path.unlink(missing_ok=True)


def contradicting(study: Received, home: SiteHome) -> tuple[Instance, ...]:
    """Those of `study` that are other versions of an image that its record has."""
    before = Records(home).find(study.key, Received)
    ours = {one.sop_instance_uid: one.path.stem for one in before.instances} if before else {}
    return tuple(one for one in study.instances if ours.get(one.sop_instance_uid, one.path.stem) != one.path.stem)


def withdraw(key: StudyKey, versions: Sequence[Instance], home: SiteHome, ledger: Ledger) -> None:
    """Let a study that has not left go on without every image of which `versions` came."""
    before = Records(home).find(key, Received) if ledger.has_study(key) else None
    if before is None or ledger.study(key).state in SENT_OR_SEALED:
        return
    uids = {one.sop_instance_uid for one in versions}
    ours = [one for one in before.instances if one.sop_instance_uid in uids]
    agreed = tuple(one for one in before.instances if one.sop_instance_uid not in uids)
    if not ours:
        return
    keep_apart((one.path for one in ours), home)
    if agreed:
        entry = ledger.study(key)
        state = State.QUARANTINED if entry.state is State.QUARANTINED else State.RECEIVED
        reasons = entry.reasons if state is State.QUARANTINED else ()
        ledger.add_study(key, [one.path.stem for one in agreed], state=state, reasons=reasons)
    else:  # nothing of it can be trusted
        ledger.advance(key, State.QUARANTINED, reasons=(refused("", OTHER_BYTES).reason,))
    ledger.hold_instances(key, [one.path.stem for one in ours], OTHER_BYTES)
    if agreed:
        Records(home).write(key, before.model_copy(update={"instances": agreed}))
    remove_copies(ours)
