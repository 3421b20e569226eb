"""A copy in the spool is whole or copied again, and what is said of it shows no patient."""

from pathlib import Path

import pytest

from shared.errors.storage import DiskFull
from tests.factories.dicom import make_ct, write_file
from tests.unit.site_node.receive.conftest import receive


def write_ct(folder: Path, patient: str = "P") -> None:
    folder.mkdir(exist_ok=True)
    for number, dataset in enumerate(make_ct(slices=3, rows=8, PatientID=patient)):
        write_file(dataset, folder / f"slice{number}.dcm")


def test_a_disk_that_turns_out_full_late_is_reported_as_such(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For small files a full disk may show only when bytes are made durable; no half copy stays."""
    write_ct(source)

    def full(folder: Path) -> None:
        raise DiskFull(folder=str(folder))

    monkeypatch.setattr("site_node.receive.folder.sync_filesystem", full)
    with pytest.raises(DiskFull):
        receive(source)
    assert not list((source.parent / "spool").rglob("*.dcm"))


def test_a_copy_that_lost_its_end_with_the_power_is_copied_again(source: Path) -> None:
    """Copies of a study become durable together, so a power cut before that may leave a name without all its data."""
    write_ct(source)
    paths = [instance.path for study in receive(source).studies for instance in study.instances]
    whole = [path.read_bytes() for path in paths]
    for path, content in zip(paths, whole, strict=True):
        path.write_bytes(content[:-100])
    again = receive(source)
    assert [path.read_bytes() for path in paths] == whole
    assert {instance.path for study in again.studies for instance in study.instances} == set(paths)


def test_no_record_shows_a_name_or_a_patient(source: Path) -> None:
    """The `repr` of our values, which may reach a log by accident, holds no file name and no identifier."""
    write_ct(source / "DOE^JANE", patient="MRN-77")
    (source / "DOE^JANE" / "DOE.txt").write_text("x")
    reception = receive(source)
    for record in (*reception.studies, *reception.refused):
        assert "DOE" not in repr(record)
        assert "MRN-77" not in repr(record)
        assert not any(i.sop_instance_uid in repr(record) for s in reception.studies for i in s.instances)


@pytest.mark.parametrize("written", [" P7", "P7 ", "P7\0", "P7"])
def test_padding_makes_no_other_patient(source: Path, written: str) -> None:
    write_ct(source, patient=written)
    (study,) = receive(source).studies
    assert study.identity is not None
    assert study.identity.patient_id == "P7"
