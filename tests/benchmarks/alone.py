"""Our two stages over a folder, in their own process: seconds, and peak memory above the imports.

`python -m tests.benchmarks.alone SOURCE OUT PART PARTS [validate]`. Several processes share a folder, a part each.
Each waits for a line on standard input before it begins, so that all can begin together.
"""

import re
import sys
import time
from pathlib import Path

import pydicom

from shared.ids import SiteId
from shared.protocol.loader import load_profile
from site_node.deidentify.study import deidentify
from site_node.deidentify.study_reader import StudyReader
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Deidentified, Included, Validated
from site_node.validate.validation import validate
from tests.factories.studies import make_included, make_instance, make_received

PROFILE = load_profile("ricord")


def study_of(source: Path, part: int = 0, parts: int = 1) -> Included:
    """The files of a folder as one received study; receiving is not timed."""
    files = sorted(source.iterdir())[part::parts]
    received = make_received(source.parent / f"first{part}", [pydicom.dcmread(files[0], stop_before_pixels=True)])
    return make_included(received.model_copy(update={"instances": tuple(make_instance(file) for file in files)}))


def work(study: Included, out: Path, *, validated: bool) -> Deidentified | Validated:
    """De-identify a study, and validate it if asked; it exits where either refuses it."""
    pseudonyms = Pseudonyms(bytes(range(32)), SiteId("123456"))  # new: nothing is cached from an earlier round
    result = deidentify(study, profile=PROFILE, pseudonyms=pseudonyms, out=out)
    if not isinstance(result, Deidentified):
        sys.exit(f"the benchmark's study was refused: {result}")
    if not validated:
        return result
    verdict = validate(study, result, profile=PROFILE, pseudonyms=pseudonyms, report=out.with_suffix(".json"))
    if not isinstance(verdict, Validated):
        sys.exit(f"the benchmark's study did not validate: {verdict}")
    return verdict


def memory(field: str) -> int:
    """Kilobytes of this process: `VmRSS` is its memory now, `VmHWM` its peak since `forget_peak`."""
    match = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    return int(match[1]) if match else 0


def forget_peak() -> None:
    """Count the peak from now on (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def main(source: Path, out: Path, part: int, parts: int, *, validated: bool) -> None:
    """Run once after a line on standard input; print seconds and kilobytes."""
    imports = memory("VmRSS")
    study = study_of(source, part, parts)
    if study.study.identity is not None:  # no contestant's set-up is timed
        StudyReader(PROFILE, study.study.identity).names.identifiers()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    forget_peak()
    start = time.perf_counter()
    work(study, out, validated=validated)
    sys.stdout.write(f"{time.perf_counter() - start:.6f} {memory('VmHWM') - imports}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), validated="validate" in sys.argv)
