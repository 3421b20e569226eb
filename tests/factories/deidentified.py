"""Running one data set or study through the stage, for the tests of de-identification."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from shared.ids import SiteId
from shared.protocol.loader import load_profile
from shared.protocol.profile import Profile
from site_node.deidentify.assemble import NewFile
from site_node.deidentify.context import StudyContext
from site_node.deidentify.study import deidentify, rewritten
from site_node.deidentify.study_reader import StudyReader, opened
from site_node.dicom.elements import Span
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Deidentified, Ending, Identity, Refused
from tests.factories.studies import make_included, make_received

PROFILE = load_profile()
PSEUDONYMS = Pseudonyms(bytes(range(32)), SiteId("654321"))


@dataclass(frozen=True)
class Outcome:
    """The result of the stage for a study of one instance."""

    raw: bytes  # the new file, empty if there is none
    code: str | None
    ending: Ending | None

    @property
    def dataset(self) -> pydicom.FileDataset:
        """The new file as pydicom reads it."""
        return pydicom.dcmread(BytesIO(self.raw))


def run_study(
    folder: Path, datasets: Sequence[Dataset], syntax: UID = ExplicitVRLittleEndian
) -> Deidentified | Refused:
    """The stage on data sets of one study, written into `folder`."""
    study = make_received(folder / "spool", datasets, syntax)
    return deidentify(make_included(study), profile=PROFILE, pseudonyms=PSEUDONYMS, out=folder / "out")


def run_one(folder: Path, dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> Outcome:
    """The stage on one data set."""
    return outcome_of(run_study(folder, [dataset], syntax))


def outcome_of(result: Deidentified | Refused) -> Outcome:
    """The one instance of a result."""
    if isinstance(result, Refused):
        return Outcome(b"", result.reasons[0].code, result.ending)
    return Outcome(result.instances[0].path.read_bytes(), None, None)


def run_bytes(folder: Path, dataset: Dataset, content: bytes) -> Outcome:
    """The stage on hand-made bytes that were received as `dataset`'s file."""
    study = make_received(folder / "spool", [dataset])
    study.instances[0].path.write_bytes(content)
    instance = study.instances[0].model_copy(update={"size": len(content)})
    included = make_included(study.model_copy(update={"instances": (instance,)}))
    return outcome_of(deidentify(included, profile=PROFILE, pseudonyms=PSEUDONYMS, out=folder / "out"))


def rewritten_bytes(path: Path, profile: Profile, identity: Identity, study_uid: str, *, slow: bool = False) -> bytes:
    """The new bytes of one file that is all of its study, by the fast reader or the slow one."""
    reader = StudyReader(profile, identity)
    with opened(path) as file:
        parsed = reader.read(file, path, slow=slow)
        reader.names.collect(parsed)
        context = StudyContext(profile, PSEUDONYMS, identity, study_uid, reader.names.identifiers())
        return bytes_of_new(path, rewritten(parsed, file, context, reader.cache, blanked=False))


def bytes_of_new(path: Path, new: NewFile) -> bytes:
    """All bytes of a new file, whose pixels may lie in the file at `path`."""
    pixels = new.pixels
    if isinstance(pixels, Span):
        pixels = path.read_bytes()[pixels.offset : pixels.offset + pixels.length]
    return new.before + pixels + new.after


def file_of(folder: Path, dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """The bytes of the data set as a file."""
    return make_received(folder / "bytes", [dataset], syntax).instances[0].path.read_bytes()
