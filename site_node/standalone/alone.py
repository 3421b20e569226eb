"""`deidentify SOURCE OUT` without a home: choose the engine, run, write the report."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from shared.errors.inputs import InvalidArgument
from site_node.node.worker_processes import Processes
from site_node.node.workers import Engine, Inline
from site_node.standalone.archive import RunReport, deidentify_archive
from site_node.standalone.engine_ray import LOCAL, Ray
from site_node.standalone.job import Job
from site_node.standalone.report import is_report, report_lines, write_report
from site_node.standalone.worker import perform

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
    _check_writable(job.out)
    if report is not None:
        _check_report(report, source, job)
    with ended_by_signals(), closing(_make_engine(choice)) as engine:
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


def _make_engine(choice: EngineChoice) -> Engine:
    if choice.name is EngineName.RAY:
        return Ray(choice.ray_address or LOCAL, workers=choice.workers)
    if choice.ray_address:
        raise InvalidArgument(name="--ray-address", problem="it goes with --engine ray")
    return Processes(choice.workers, perform.__module__) if choice.workers > 1 else Inline()


def _check_outside(source: Path, out: Path) -> None:
    """Raise `InvalidArgument` when the output folder would lie inside the source, or contain it."""
    resolved_source, resolved_out = source.resolve(), out.resolve()
    if resolved_out.is_relative_to(resolved_source) or resolved_source.is_relative_to(resolved_out):
        raise InvalidArgument(name="OUT", problem="it must lie outside SOURCE")
    if out.exists() and not out.is_dir():
        raise InvalidArgument(name="OUT", problem="it is not a folder")


def _check_writable(out: Path) -> None:
    """Make the output folder where it is missing; raises `InvalidArgument` where nothing can be written into it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise InvalidArgument(name="OUT", problem="it cannot be made") from None
    if not os.access(out, os.W_OK | os.X_OK):
        raise InvalidArgument(name="OUT", problem="nothing can be written there")


def _check_report(report: Path, source: Path, job: Job) -> None:
    """Raise `InvalidArgument` where writing the report would fail, or replace something that is no report."""
    if not os.access(report.absolute().parent, os.W_OK):
        raise InvalidArgument(name="--report", problem="its folder does not exist, or nothing can be written there")
    file = report.resolve()
    if file == job.key_file.resolve():
        raise InvalidArgument(name="--report", problem="it is the key file")
    if any(file.is_relative_to(folder.resolve()) for folder in (source, job.out)):
        raise InvalidArgument(name="--report", problem="it must lie outside SOURCE and OUT")
    if file.exists() and not is_report(file):
        raise InvalidArgument(name="--report", problem="a file of that name is there, and is no report")


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does, so that what it made for itself is removed."""
    previous = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
