"""The files of one study, checked and hashed when the study is processed."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from shared.errors import DicomUnreadable, DiskFull
from shared.ids import Sha256, StudyKey
from site_node.dicom.header import Header
from site_node.dicom.reading import read_header
from site_node.standalone.reasons import outcome_for, unreadable_outcome
from site_node.standalone.sources import open_input, unpack
from site_node.standalone.tasks import FileOutcome, StudyFile
from site_node.standalone.worker_context import WorkerContext
from site_node.study import Instance


class PreparedFile(NamedTuple):
    """A file with its header and its instance; the path is in the source or, unpacked from an archive, in the spool."""

    study_file: StudyFile
    header: Header
    instance: Instance

    @property
    def number(self) -> int:
        """The number of the input file, in the source's order."""
        return self.study_file.location.number


def prepare(file: StudyFile, study: StudyKey, context: WorkerContext, spool: Path) -> PreparedFile | FileOutcome:
    """A file that did not change since it was scanned, or the outcome of one that is left out."""
    try:
        path = _locate(file, context, spool)
        if path is None:
            return outcome_for("changed-while-reading")
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            header = read_header(stream, size)
            stream.seek(0)
            digest = Sha256(hashlib.file_digest(stream, "sha256").hexdigest()) if context.job.validated else None
    except DicomUnreadable as error:
        return unreadable_outcome(error.fields["reason"])
    except DiskFull:
        return outcome_for("disk-full")
    except OSError:
        return unreadable_outcome("unreadable")
    if context.pseudonyms.study_key(header.study_instance_uid) != study:
        return outcome_for("changed-while-reading")
    return PreparedFile(file, header, header.instance(path, size, digest))


def _locate(file: StudyFile, context: WorkerContext, spool: Path) -> Path | None:
    """A path where the file can be read at random; `None` where it changed since it was scanned."""
    with open_input(file.location, context.archives) as (stream, stamp, _):
        if stamp != file.stamp:
            return None
        if file.location.member is None:
            return Path(file.location.path)
        target = spool / f"{file.location.number}.dcm"
        unpack(stream, target)
        return target
