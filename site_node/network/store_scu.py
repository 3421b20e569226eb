"""The C-STORE SCU: files to a PACS as they lie, over several associations, each accounted for.

pynetdicom can lose an answer (about one in 6,000): what comes then is an empty status. It means *unknown*, so the file
is sent again over a new association, which is safe: a PACS knows an instance by its UID. No data set is decoded and
none is transcoded. Nothing here logs, and what is returned for people holds no name of a file.
"""

import queue
import ssl
import threading
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom import _config
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.status import code_to_category

from shared.errors import TransportError
from shared.frozen import Frozen
from site_node.network.connection import associated
from site_node.receive.source import candidates
from site_node.settings.dimse import SendSettings

_MOST_CONTEXTS = 127  # of the 128 in one association (PS3.8 section 9.3.2.2); one is for C-ECHO
_VERIFICATION = "1.2.840.10008.1.1"
_STATUSES = {0xA7: "out-of-resources", 0xA9: "does-not-match", 0xC0: "not-understood"}  # PS3.4 table B.2-1

REASONS = {
    "unreadable": "the file, or what it says of itself, cannot be read",
    "not-accepted": "the PACS takes no such object in this transfer syntax",
    "out-of-resources": "the PACS has no room",
    "does-not-match": "the PACS says that the object is not of the class that it claims",
    "not-understood": "the PACS could not understand the object",
    "status": "the PACS answered with another failure",
    "no-answer": "the PACS did not answer, however often it was sent",
    "pacs-unreachable": "the PACS was not there, or broke off",
    "pacs-refused": "the PACS does not let our AE title in",
}


@dataclass(frozen=True)
class Sendable:
    """A DICOM file and what it says that it is."""

    path: Path = field(repr=False)
    kind: tuple[str, str]  # SOP class and transfer syntax


@dataclass(frozen=True)
class Listed:
    """What lies in what was named."""

    files: tuple[Sendable, ...]
    unreadable: tuple[Path, ...] = field(repr=False)
    others: int  # files that are no DICOM, archives, and links: left alone


@dataclass(frozen=True)
class Sent:
    """How it ended. Every file is in `sent` or, with a code of `REASONS`, in `failed`."""

    sent: frozenset[Path] = field(repr=False)
    failed: dict[Path, str] = field(repr=False)


class SendReport(Frozen):
    """What became of the files of one command: counts and codes; no name of a file."""

    files: int
    sent: int
    failed: int
    reasons: dict[str, int]
    others: int  # no DICOM files, archives and links: left alone


def failures(listed: Listed, sent: Sent) -> dict[Path, str]:
    """Every file that did not arrive, with a code of `REASONS`."""
    return {**sent.failed, **dict.fromkeys(listed.unreadable, "unreadable")}


def report_of(listed: Listed, sent: Sent) -> SendReport:
    """The counts of a command."""
    failed = failures(listed, sent)
    return SendReport(
        files=len(listed.files) + len(listed.unreadable),
        sent=len(sent.sent),
        failed=len(failed),
        reasons=dict(sorted(Counter(failed.values()).items())),
        others=listed.others,
    )


def list_files(sources: Iterable[Path]) -> Listed:
    """Find the DICOM files in folders and files; raises `SourceMissing`."""
    files: dict[Path, Sendable] = {}
    unreadable: dict[Path, None] = {}
    others = 0
    for candidate in (one for source in sources for one in candidates(source)):
        path = candidate.path
        if path is None or candidate.refusal or candidate.member is not None or path.name.upper() == "DICOMDIR":
            others += 1
            continue
        try:
            files[path] = _sendable(path)
        except InvalidDicomError:
            others += 1
        except Exception:  # noqa: BLE001 -- pydicom raises whatever it meets, with values in the text
            unreadable[path] = None
    return Listed(files=tuple(files.values()), unreadable=tuple(unreadable), others=others)


def send(files: Sequence[Sendable], settings: SendSettings, tls: ssl.SSLContext | None = None) -> Sent:
    """Send each file. Raises `PacsUnreachable` or `PacsRefused` where not one association could be made."""
    _config.STORE_SEND_CHUNKED_DATASET = True  # a path is then sent as it is, not decoded and encoded
    by_kind = sorted(files, key=lambda one: one.kind)
    kinds = list(dict.fromkeys(one.kind for one in by_kind))
    sent: set[Path] = set()
    failed: dict[Path, str] = {}
    for start in range(0, len(kinds), _MOST_CONTEXTS):
        some = frozenset(kinds[start : start + _MOST_CONTEXTS])
        batch = _Batch([one for one in by_kind if one.kind in some], settings, tls)
        batch.run()
        sent |= batch.sent
        failed |= batch.failed
    return Sent(sent=frozenset(sent), failed=failed)


class _Lost(Exception):
    """The association is over, and what became of the file is unknown."""


class _Batch:
    """Files whose contexts fit in one association, and the threads that send them."""

    def __init__(self, files: Sequence[Sendable], settings: SendSettings, tls: ssl.SSLContext | None) -> None:
        self.sent: set[Path] = set()
        self.failed: dict[Path, str] = {}
        self._settings = settings
        self._tls = tls
        self._contexts = [build_context(_VERIFICATION), *_contexts(files)]
        self._waiting: queue.SimpleQueue[tuple[Sendable, int]] = queue.SimpleQueue()
        self._answered = threading.Event()  # the PACS let us in, or did not
        self._error: TransportError | None = None
        for one in files:
            self._waiting.put((one, 1))

    def run(self) -> None:
        """Send until nothing waits or nobody is there; raises as `send`.

        The other associations are asked for once there is one: a PACS that takes only so many refuses only those.
        """
        count = min(self._settings.associations, self._waiting.qsize())
        threads = [threading.Thread(target=self._work, name="pacs-send") for _ in range(count)]
        for thread in threads:
            thread.start()
            self._answered.wait()
        for thread in threads:
            thread.join()
        if self._error is not None and not self.sent and not self.failed:
            raise self._error
        for one, _ in self._rest():
            self.failed[one.path] = self._error.code if self._error else "no-answer"

    def _work(self) -> None:
        """One association after the other, until nothing waits or none can be made."""
        while not self._waiting.empty():
            try:
                with associated(
                    self._settings, self._contexts, answer_seconds=self._settings.answer_seconds, tls=self._tls
                ) as association:
                    self._send_over(association)
            except _Lost:
                continue
            except TransportError as error:
                self._error = error
                return
            finally:
                self._answered.set()

    def _send_over(self, association: Association) -> None:
        """Raises `_Lost`."""
        self._answered.set()
        accepted = {(one.abstract_syntax, one.transfer_syntax[0]) for one in association.accepted_contexts}
        for one, attempt in self._rest():
            if one.kind not in accepted:
                self.failed[one.path] = "not-accepted"
                continue
            try:
                status = association.send_c_store(one.path).get("Status")
            except RuntimeError:  # the association ended in between
                status = None
            except Exception:  # noqa: BLE001 -- whatever pydicom meets in a file that changed, maybe half-way through
                self.failed[one.path] = "unreadable"
                raise _Lost from None
            if status is None:
                self._again(one, attempt)
                raise _Lost
            self._note(one, status)

    def _again(self, one: Sendable, attempt: int) -> None:
        if attempt < self._settings.attempts:
            self._waiting.put((one, attempt + 1))
        else:
            self.failed[one.path] = "no-answer"

    def _note(self, one: Sendable, status: int) -> None:
        if code_to_category(status) in {"Success", "Warning"}:  # with a warning it is kept all the same
            self.sent.add(one.path)
        else:
            self.failed[one.path] = _STATUSES.get(min(status >> 8, 0xC0), "status")

    def _rest(self) -> Iterator[tuple[Sendable, int]]:
        while True:
            try:
                yield self._waiting.get_nowait()
            except queue.Empty:
                return


def _sendable(path: Path) -> Sendable:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote values
        meta = read_file_meta_info(path)
    if not meta.MediaStorageSOPInstanceUID:
        raise ValueError("it does not name its instance")
    return Sendable(path=path, kind=(str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)))


def _contexts(files: Iterable[Sendable]) -> list[PresentationContext]:
    return [build_context(sop_class, [syntax]) for sop_class, syntax in dict.fromkeys(one.kind for one in files)]
