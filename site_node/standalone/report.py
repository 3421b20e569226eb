"""The outcome of every input file, as JSON Lines. Names in the source may be a patient's: the report is PHI."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from shared.durable import replacing
from site_node.standalone.job import FileOutcome

_BEGIN = b'{"source": '


def report_lines(names: Sequence[str], outcomes: Sequence[FileOutcome]) -> Iterator[dict[str, Any]]:
    """One line for each input file, in the source's order."""
    for name, file in zip(names, outcomes, strict=True):
        reasons = [reason.model_dump(mode="json") for reason in file.reasons]
        yield {"source": name, "outcome": str(file.outcome), "reasons": reasons, "output": file.output}


def is_report(file: Path) -> bool:
    """Whether a file begins as a report of ours, or is empty."""
    with file.open("rb") as stream:
        return stream.read(len(_BEGIN)) in {b"", _BEGIN}


def write_report(file: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Write the report whole or not at all, readable by its owner only. Raises `DiskFull`.

    A name that is not UTF-8 is written with its bytes escaped.
    """
    with replacing(file, mode=0o600) as target:
        for line in lines:
            text = json.dumps(line, ensure_ascii=False) + "\n"
            target.write(text.encode("utf-8", "backslashreplace"))
