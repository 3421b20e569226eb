"""The audit log as a file of JSON lines: the head that the coordinator signed over it, then an event in each line."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pydantic import ValidationError

from coordinator.store.audit_chain import AuditEvent, ChainReport, verify
from shared.audit_head import AuditHead
from shared.crypto.signing import VerifyKey
from shared.durable import replacing
from shared.errors.inputs import SourceMissing
from shared.errors.trust import AuditBroken, SignatureInvalid
from shared.frozen import Frozen
from shared.manifest import canonical_json
from shared.signed import Signed

_WHAT = "the head of the exported audit log"


class FirstLine(Frozen):
    """Who reads it compares the key's fingerprint with the one in an agreement."""

    head: Signed
    verify_key: str  # OpenSSH line


class Exported(NamedTuple):
    """A file that was read back: the recomputed chain, the head in it, and whose signature that head has."""

    report: ChainReport
    head: AuditHead
    key: VerifyKey


def write_export(path: Path, first: FirstLine, events: Iterable[AuditEvent]) -> None:
    """Write the whole file or nothing, for its owner only."""
    with replacing(path, mode=0o600) as file:
        file.write(canonical_json(first) + b"\n")
        file.writelines(canonical_json(event) + b"\n" for event in events)


def read_export(path: Path) -> Exported:
    """Recompute the chain of a file and compare it with the head in it; no coordinator is asked.

    Raises `SourceMissing`, `SignatureInvalid` for a first line that is no head signed by the key in it, and
    `AuditBroken` with the first event that is missing or does not fit.
    """
    try:
        with path.open("rb") as file:
            first = _first_line(file)
            key = VerifyKey.parse(first.verify_key)
            head = first.head.verified(key, AuditHead, what=_WHAT)
            report = verify(_events(file), kept=head)
    except OSError as error:
        raise SourceMissing(type(error).__name__, source=str(path)) from error
    if not report.intact or report.events != head.size:
        raise AuditBroken(number=str(report.broken_at or head.size + 1))
    return Exported(report, head, key)


def _first_line(file: BinaryIO) -> FirstLine:
    try:
        return FirstLine.model_validate_json(file.readline())
    except ValidationError as error:
        raise SignatureInvalid("the first line does not parse", what=_WHAT) from error


def _events(file: BinaryIO) -> Iterator[AuditEvent]:
    for number, line in enumerate(file, start=1):
        try:
            yield AuditEvent.model_validate_json(line)
        except ValidationError as error:
            raise AuditBroken("the line does not parse", number=str(number)) from error
