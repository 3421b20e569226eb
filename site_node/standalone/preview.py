"""One file before and after de-identification; nothing is kept."""

import os
import warnings
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from shared.errors.inputs import InvalidArgument
from shared.ids import EXAMPLE_SITE_ID
from shared.protocol.profile import Profile
from site_node.deidentify.study import deidentify
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.pseudonyms.names import SECRET_BYTES
from site_node.standalone.scratch import scratch_folder
from site_node.standalone.screening import temporary_reception
from site_node.study import Included, Refused


def before_and_after(file: Path, profile: Profile) -> tuple[Dataset, Dataset]:
    """A file's data set, and the de-identified one under a random secret and the example SITEID. PHI.

    Raises `InvalidArgument` where the file cannot be received or de-identified.
    """
    with temporary_reception(file) as reception, scratch_folder() as folder:
        if not reception.studies:
            raise InvalidArgument(name="FILE", problem=reception.refused[0].reason.message.rstrip("."))
        study = reception.studies[0]
        included = Included(study=study, kept=study.instances, left_out=(), warnings=())
        pseudonyms = Pseudonyms(os.urandom(SECRET_BYTES), EXAMPLE_SITE_ID)
        output = deidentify(included, profile=profile, pseudonyms=pseudonyms, out=folder / "out")
        if isinstance(output, Refused):
            raise InvalidArgument(name="FILE", problem=output.reasons[0].message.rstrip("."))
        return _read(study.instances[0].path), _read(output.instances[0].path)


def _read(path: Path) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        dataset.decode()
    return dataset
