"""What became of every input file, as JSON Lines. Names in the source may be a patient's: the report is PHI."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from shared.durable import replacing
from site_node.standalone.tasks import FileOutcome


def lines(names: Sequence[str], fates: Sequence[FileOutcome]) -> Iterator[dict[str, Any]]:
    """One line for each input file, in the source's order."""
    for name, fate in zip(names, fates, strict=True):
        reasons = [reason.model_dump(mode="json") for reason in fate.reasons]
        yield {"source": name, "outcome": str(fate.outcome), "reasons": reasons, "output": fate.output}


def write_report(file: Path, told: Iterable[dict[str, Any]]) -> None:
    """Write the report whole or not at all, readable by its owner only. Raises `DiskFull`.

    A name that is no UTF-8 is written with its bytes escaped.
    """
    with replacing(file, mode=0o600) as target:
        for line in told:
            text = json.dumps(line, ensure_ascii=False) + "\n"
            target.write(text.encode("utf-8", "backslashreplace"))
