"""What a site keeps as a witness of the coordinator's audit log: the last head it verified, and a contradiction to it.

The coordinator signed a head of its log with each receipt and with each day's answer. A log of today that does not
contain them all was cut, changed or restored from an older backup; then nothing is sent until a person resumes.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from shared.agreement import Moment
from shared.audit_head import AuditHead
from shared.crypto.signing import VerifyKey
from shared.durable import append, move, sync_folder, write_whole
from shared.errors.inputs import NotFound
from shared.errors.trust import AuditContradicted, SignatureInvalid
from shared.frozen import Frozen
from shared.manifest import canonical_json
from shared.signed import Signed
from site_node.home.folder import SiteHome

_WHAT = "the kept head of the audit log"
_EVERY = timedelta(days=1)
_LATE = timedelta(days=7)


class Witnessed(Frozen):
    """The largest head that was verified, and when the coordinator last proved that its log contains it."""

    head: Signed
    proven_at: Moment

    def is_due(self, now: datetime) -> bool:
        """Whether the coordinator is to be asked again; also where the clock was set back."""
        return abs(now - self.proven_at) >= _EVERY

    def is_late(self, now: datetime) -> bool:
        """Whether the last proof is too old to rely on."""
        return now - self.proven_at > _LATE


class Contradiction(Frozen):
    """What the coordinator's answer contradicts, with the signed documents that show it."""

    problem: str
    seen_at: Moment
    held: Signed | None = None  # the head that was verified before
    receipt: Signed | None = None
    answer: Signed | None = None  # the head of the log that it shows now

    @property
    def error(self) -> AuditContradicted:
        """What is raised instead of sending."""
        return AuditContradicted(problem=self.problem)


class Witness:
    """The folder `witness` of a home."""

    def __init__(self, home: SiteHome) -> None:
        self._folder = home.witness
        self._receipts = home.receipts
        self._contradiction = home.contradiction

    def witnessed(self) -> Witnessed | None:
        """What was verified last; raises `SignatureInvalid` for a file that does not parse."""
        try:
            with suppress(FileNotFoundError):
                return Witnessed.model_validate_json((self._folder / "head.json").read_bytes())
        except ValidationError as error:
            raise SignatureInvalid("it does not parse", what=_WHAT) from error
        return None

    def head(self, key: VerifyKey) -> AuditHead | None:
        """The largest head that was verified, its signature checked again; raises `SignatureInvalid`."""
        witnessed = self.witnessed()
        return witnessed.head.verified(key, AuditHead, what=_WHAT) if witnessed else None

    def keep(self, head: Signed, now: datetime, proven: Iterable[Path]) -> None:
        """Keep a verified head, then which receipts it was proven to contain; a kill between proves them again."""
        self._write("head.json", Witnessed(head=head, proven_at=now))
        lines = "".join(f"{_line(path)} proven\n" for path in proven)
        if lines:
            append(self._folder / "receipts.txt", lines.encode(), mode=0o600)

    def receipts(self) -> tuple[list[Path], list[Path]]:
        """The receipts that no head was proven to contain yet, and those that one was.

        A receipt that came again is a new one. Those that a person gave up when sending was resumed are in neither.
        """
        known = dict(self._lines())
        paths = sorted(self._receipts.glob("*.json"))
        return [path for path in paths if _line(path) not in known], [
            path for path in paths if known.get(_line(path)) == "proven"
        ]

    def is_given_up(self, receipt: Path) -> bool:
        """Whether a person resumed the sending although this receipt is contradicted."""
        return dict(self._lines()).get(_line(receipt)) == "given-up"

    def contradiction(self) -> Contradiction | None:
        """What stops the sending."""
        with suppress(FileNotFoundError):
            return Contradiction.model_validate_json(self._contradiction.read_bytes())
        return None

    def check(self) -> None:
        """Raise `AuditContradicted` while a contradiction stops the sending."""
        contradiction = self.contradiction()
        if contradiction is not None:
            raise contradiction.error

    def stop(self, contradiction: Contradiction) -> None:
        """Stop the sending, durably; the first contradiction stays."""
        if self.contradiction() is None:
            self._write(self._contradiction.name, contradiction)

    def resume(self) -> Contradiction:
        """Let sending go on and begin anew with the log as it is: no receipt of before is asked for any more.

        The evidence stays under the name of its moment. Raises `NotFound` where nothing stops the sending.
        """
        contradiction = self.contradiction()
        if contradiction is None:
            raise NotFound(kind="contradiction", name="to resume from")
        given_up = "".join(f"{_line(path)} given-up\n" for path in sorted(self._receipts.glob("*.json")))
        write_whole(self._folder / "receipts.txt", given_up.encode(), mode=0o600)
        (self._folder / "head.json").unlink(missing_ok=True)
        evidence = f"contradiction-{contradiction.seen_at:%Y%m%dT%H%M%S}.json"
        move(self._contradiction, self._folder / evidence)
        sync_folder(self._folder)
        return contradiction

    def _lines(self) -> Iterator[tuple[str, str]]:
        try:
            text = (self._folder / "receipts.txt").read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        for line in text.splitlines():
            receipt, _, word = line.rpartition(" ")
            yield receipt, word

    def _write(self, name: str, record: Frozen) -> None:
        self._folder.mkdir(exist_ok=True, mode=0o700)
        write_whole(self._folder / name, canonical_json(record), mode=0o600)


def _line(receipt: Path) -> str:
    """A receipt's name, and the moment at which the file was written."""
    return f"{receipt.name} {receipt.stat().st_mtime_ns}"
