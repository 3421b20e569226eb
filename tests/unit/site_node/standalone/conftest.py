"""A source with one good film, and a function that de-identifies it without a home."""

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.crypto.keys import make_secret
from shared.ids import SiteId
from site_node.standalone.alone import EngineChoice, run_standalone
from site_node.standalone.job import FileOutcome, Job
from tests.factories.dicom import make_dx, write_file

Alone = Callable[..., dict[str, FileOutcome]]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    make_secret(tmp_path / "key")
    return Job(
        site_id=SiteId("123456"),
        key_file=tmp_path / "key",
        profile="ricord",
        out=tmp_path / "out",
        pixel_check=False,
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    write_file(make_dx(study="good", PatientID="GOOD"), folder / "good.dcm")
    return folder


@pytest.fixture
def alone(job: Job, source: Path) -> Alone:
    """`alone()` gives the outcome of each input file by name; further arguments change the job."""

    def call(root: Path = source, choice: EngineChoice | None = None, **changes: object) -> dict[str, FileOutcome]:
        run_report = run_standalone(root, job.model_copy(update=changes), choice or EngineChoice(), None)
        return dict(zip(run_report.names, run_report.outcomes, strict=True))

    return call
