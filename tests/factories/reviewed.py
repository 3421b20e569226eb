"""De-identified studies as they lie opened at a curator's, made by the site's own stage, with faults planted after."""

from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from coordinator.curation.opening import OpenedStudy
from shared.ids import PatientPseudonym
from site_node.study import Refused
from tests.factories.deidentified import PSEUDONYMS, run_study
from tests.factories.dicom import changed
from tests.factories.opened import write_opened


def open_datasets(
    folder: Path,
    datasets: Sequence[Dataset],
    number: int = 1,
    *,
    syntax: UID = ExplicitVRLittleEndian,
    clinical: dict[str, str | int] | None = None,
    **faults: object,
) -> OpenedStudy:
    """De-identify `datasets` of one study and lay them open below `folder`; `faults` change headers afterwards."""
    out = run_study(folder / f"site-{number}", datasets, syntax)
    assert not isinstance(out, Refused)
    series = {str(each.sop_instance_uid): str(each.series_instance_uid) for each in out.instances}
    for instance in out.instances:
        if faults:
            dataset = pydicom.dcmread(instance.path)
            changed(dataset, faults).save_as(instance.path)
    return write_opened(
        folder / "opened",
        number,
        site=PSEUDONYMS.site_id,
        modality=str(datasets[0].Modality),
        files={str(each.sop_instance_uid): each.path.read_bytes() for each in out.instances},
        uid=str(out.study_instance_uid),
        patient=PatientPseudonym(out.patient),
        series=series,
        clinical=clinical,
    )
