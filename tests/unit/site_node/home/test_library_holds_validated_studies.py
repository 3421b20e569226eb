"""The library holds whole, validated studies for federated work."""

from pathlib import Path

import pytest

from shared.errors.inputs import NotFound
from shared.ids import PatientPseudonym, Sha256, Uid
from site_node.home.library import LibraryInstance, LibrarySeries, LibraryStudy, add_study, load_library, remove_study


def sample(tmp_path: Path, study: str = "1.2.3") -> tuple[LibraryStudy, dict[str, Path]]:
    file = tmp_path / "validated.dcm"
    file.write_bytes(b"pixels")
    name = "1.2.3.4/1.2.3.4.5.dcm"
    instance = LibraryInstance(
        file=name, sop_instance_uid=Uid("1.2.3.4.5"), series=Uid("1.2.3.4"), sha256=Sha256("0" * 64)
    )
    record = LibraryStudy(
        study=Uid(study),
        patient=PatientPseudonym("123456-000001"),
        modalities=("CT",),
        series=(LibrarySeries(uid=Uid("1.2.3.4"), modality="CT", instance_count=1, slice_thickness=1.5),),
        instances=(instance,),
        clinical={"age": 61, "status": "positive"},
    )
    return record, {name: file}


def test_a_study_added_twice_is_loaded_once(tmp_path: Path) -> None:
    """A pipeline killed after adding a study may add it again; the library then holds it once."""
    library = tmp_path / "library"
    study, files = sample(tmp_path)
    add_study(library, study, files)
    folder = add_study(library, study, files)
    assert load_library(library) == (study,)
    assert (folder / study.instances[0].file).read_bytes() == b"pixels"


def test_an_absent_library_is_empty_and_a_withdrawn_study_is_not_loaded(tmp_path: Path) -> None:
    assert load_library(tmp_path / "library") == ()
    study, files = sample(tmp_path)
    add_study(tmp_path / "library", study, files)
    remove_study(tmp_path / "library", study.study)
    remove_study(tmp_path / "library", study.study)
    assert load_library(tmp_path / "library") == ()


def test_a_study_half_added_is_not_loaded(tmp_path: Path) -> None:
    study, files = sample(tmp_path)
    with pytest.raises(FileNotFoundError):
        add_study(tmp_path / "library", study, dict.fromkeys(files, tmp_path / "lost.dcm"))
    assert load_library(tmp_path / "library") == ()


def test_a_damaged_record_stops_the_load(tmp_path: Path) -> None:
    study, files = sample(tmp_path)
    (add_study(tmp_path / "library", study, files) / "study.json").write_text("{")
    with pytest.raises(NotFound):
        load_library(tmp_path / "library")
