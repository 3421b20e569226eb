"""A DICOMDIR in an archive names members that are there, or are refused by name."""

import zipfile
from pathlib import Path

import pytest

from tests.unit.site_node.receive.conftest import receive
from tests.unit.site_node.receive.test_every_file_is_received_or_refused import codes, make_dicomdir, write_ct


@pytest.mark.parametrize("folder", ["", "CD/"])
def test_a_dicomdir_in_an_archive_is_compared_with_its_members(source: Path, folder: str) -> None:
    """What it names and is no member is refused by name; case, version and extension do not matter."""
    (slice0, slice1, *_) = write_ct(source)
    index = [["IMAGES", "SLICE0"], ["IMAGES", "SLICE1"], ["IMAGES", "LOST"], ["..", "SECRET"]]
    make_dicomdir(index).save_as(source / "DICOMDIR", enforce_file_format=True)
    with zipfile.ZipFile(source / "disc.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(source / "DICOMDIR", f"{folder}dicomdir;1")
        archive.write(slice0, f"{folder}images/slice0.dcm")
        archive.write(slice1, f"{folder}IMAGES\\SLICE1")
    reception = receive(source / "disc.zip")
    assert [len(study.instances) for study in reception.studies] == [2]
    assert codes(reception) == {
        f"disc.zip!{folder}IMAGES/LOST": "listed-but-missing",
        f"disc.zip!{folder}../SECRET": "path-outside",
    }


@pytest.mark.parametrize("broken", [b"", b"no index", bytes(128) + b"DICM\2\0\0\0UL"])
def test_a_broken_dicomdir_in_an_archive_hides_no_member(source: Path, broken: bytes) -> None:
    (file, *_) = write_ct(source)
    with zipfile.ZipFile(source / "disc.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("DICOMDIR", broken)
        archive.write(file, "slice0.dcm")
    reception = receive(source / "disc.zip")
    assert [len(study.instances) for study in reception.studies] == [1]
    assert reception.refused[0].source == "disc.zip!DICOMDIR"
