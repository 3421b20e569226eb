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
from site_node.deidentify.study import deidentify
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Deidentified, Ending, Refused
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


def file_of(folder: Path, dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """The bytes of the data set as a file."""
    return make_received(folder / "bytes", [dataset], syntax).instances[0].path.read_bytes()
