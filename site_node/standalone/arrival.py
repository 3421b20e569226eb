"""The files of one study as they are found when the study's turn comes."""

from pathlib import Path
from typing import NamedTuple

from shared.errors import DicomUnreadable, DiskFull
from shared.ids import StudyKey
from site_node.receive.reading import Header
from site_node.standalone.reasons import fate, unreadable_fate
from site_node.standalone.sources import opened, read, unpack
from site_node.standalone.tasks import FileOutcome, Member
from site_node.standalone.worker_context import WorkerContext
from site_node.study import Instance


class Arrived(NamedTuple):
    """A file, who it is, and where it lies: in the source, or unpacked from its archive."""

    member: Member
    header: Header
    instance: Instance

    @property
    def number(self) -> int:
        """Of the input file, in the source's order."""
        return self.member.place.number


def arrive(member: Member, study: StudyKey, bench: WorkerContext, spool: Path) -> Arrived | FileOutcome:
    """A file that is still what it was when it was looked at, or why it is not taken."""
    try:
        path = _located(member, bench, spool)
        if path is None:
            return fate("changed-while-reading")
        with path.open("rb") as file:
            size = path.stat().st_size
            header, digest = read(file, size)
    except DicomUnreadable as error:
        return unreadable_fate(error.fields["reason"])
    except DiskFull:
        return fate("disk-full")
    except OSError:
        return unreadable_fate("unreadable")
    if bench.pseudonyms.study_key(header.study_instance_uid) != study:
        return fate("changed-while-reading")
    instance = Instance(
        path=path,
        size=size,
        sha256=digest,
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        series_instance_uid=header.series_instance_uid,
        transfer_syntax_uid=header.transfer_syntax_uid,
    )
    return Arrived(member, header, instance)


def _located(member: Member, bench: WorkerContext, spool: Path) -> Path | None:
    """Where the file can be read at any place of it; `None` where it is not the file any more that was looked at."""
    with opened(member.place, bench.archives) as (file, stamp, _):
        if stamp != member.stamp:
            return None
        if member.place.member is None:
            return Path(member.place.path)
        target = spool / f"{member.place.number}.dcm"
        unpack(file, target)
        return target
