"""`deidentify SOURCE OUT` without a home: choose the engine, run, write the report."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from shared.errors import InvalidArgument
from site_node.node.worker_processes import Processes
from site_node.node.workers import Engine, Inline
from site_node.standalone.archive import RunReport, deidentify_archive
from site_node.standalone.engine_ray import LOCAL, Ray
from site_node.standalone.job import Job
from site_node.standalone.report import report_lines, write_report

_NO_PIXEL_CHECK = "without the pixel check nobody looks for text burned into images: names in the pixels stay"
_NO_VALIDATE = "without validation nothing looks at the outputs a second time: what de-identification missed stays"


class EngineName(StrEnum):
    """Where the workers run."""

    PROCESS = "process"
    RAY = "ray"


class EngineChoice(NamedTuple):
    """An engine and its options."""

    name: EngineName = EngineName.PROCESS
    workers: int = 1
    ray_address: str = ""


def run_standalone(source: Path, job: Job, choice: EngineChoice, report: Path | None) -> RunReport:
    """De-identify a source and write the report. Raises what `deidentify_archive` does."""
    _check_outside(source, job.out)
    job.out.mkdir(parents=True, exist_ok=True)
    if report is not None and not report.absolute().parent.is_dir():
        raise InvalidArgument(name="--report", problem="its folder does not exist")
    with _engine(choice) as engine:
        run_report = deidentify_archive(source, job, engine)
    if report is not None:
        write_report(report.absolute(), report_lines(run_report.names, run_report.outcomes))
    return run_report


def warn_disabled_checks(job: Job) -> None:
    """Note on standard error which checks the options switch off."""
    if not job.pixel_check:
        sys.stderr.write(f"note: {_NO_PIXEL_CHECK}.\n")
    if not job.validated:
        sys.stderr.write(f"note: {_NO_VALIDATE}.\n")


@contextmanager
def _engine(choice: EngineChoice) -> Iterator[Engine]:
    engine = _make_engine(choice)
    try:
        yield engine
    finally:
        engine.close()


def _make_engine(choice: EngineChoice) -> Engine:
    if choice.name is EngineName.RAY:
        return Ray(choice.ray_address or LOCAL, workers=choice.workers)
    if choice.ray_address:
        raise InvalidArgument(name="--ray-address", problem="it goes with --engine ray")
    return Processes(choice.workers) if choice.workers > 1 else Inline()


def _check_outside(source: Path, out: Path) -> None:
    """Raise `InvalidArgument` when the output folder would lie inside the source, or contain it."""
    resolved_source, resolved_out = source.resolve(), out.resolve()
    if resolved_out.is_relative_to(resolved_source) or resolved_source.is_relative_to(resolved_out):
        raise InvalidArgument(name="OUT", problem="it must lie outside SOURCE")
    if out.exists() and not out.is_dir():
        raise InvalidArgument(name="OUT", problem="it is not a folder")
