"""The C-STORE SCU: send files unchanged to a PACS over several associations, and account for each file.

pynetdicom can lose an answer (about one in 6,000) and then returns an empty status. It means *unknown*, so the file is
sent again over a new association, which is safe: a PACS identifies an instance by its UID. No data set is decoded or
transcoded. Nothing here logs, and the report holds no file names.
"""

import queue
import ssl
import threading
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.status import code_to_category

from shared.errors.transport import TransportError
from shared.frozen import Frozen
from site_node.network.connection import associated
from site_node.receive.source import candidates
from site_node.settings.dimse import SendSettings

_MOST_CONTEXTS = 127  # of the 128 in one association (PS3.8 section 9.3.2.2); one is for C-ECHO
_VERIFICATION = "1.2.840.10008.1.1"
_STATUSES = {0xA7: "out-of-resources", 0xA9: "does-not-match", 0xC0: "not-understood"}  # PS3.4 table B.2-1


@dataclass(frozen=True)
class DicomFile:
    """A DICOM file and the kind of object that its meta information states."""

    path: Path = field(repr=False)
    kind: tuple[str, str]  # SOP class and transfer syntax


@dataclass(frozen=True)
class SendList:
    """The files in the sources of one command."""

    files: tuple[DicomFile, ...]
    unreadable: tuple[Path, ...] = field(repr=False)
    others: int  # files that are not DICOM, archives and links: not sent


@dataclass(frozen=True)
class SendOutcome:
    """The result. Every file is in `sent` or, with a code of the catalogue of reasons, in `failed`."""

    sent: frozenset[Path] = field(repr=False)
    failed: dict[Path, str] = field(repr=False)


class SendReport(Frozen):
    """The result of one command: counts and codes, no file names."""

    files: int
    sent: int
    failed: int
    reasons: dict[str, int]
    others: int  # files that are not DICOM, archives and links: not sent


def failures(send_list: SendList, outcome: SendOutcome) -> dict[Path, str]:
    """Every file that did not arrive, with a code of the catalogue of reasons."""
    return {**outcome.failed, **dict.fromkeys(send_list.unreadable, "unreadable")}


def report_of(send_list: SendList, outcome: SendOutcome) -> SendReport:
    """The counts of a command."""
    failed = failures(send_list, outcome)
    return SendReport(
        files=len(send_list.files) + len(send_list.unreadable),
        sent=len(outcome.sent),
        failed=len(failed),
        reasons=dict(sorted(Counter(failed.values()).items())),
        others=send_list.others,
    )


def list_files(sources: Iterable[Path]) -> SendList:
    """Find the DICOM files in folders and files; raises `SourceMissing`."""
    files: dict[Path, DicomFile] = {}
    unreadable: dict[Path, None] = {}
    others = 0
    for candidate in chain.from_iterable(map(candidates, sources)):
        path = candidate.path
        if path is None or candidate.refusal or candidate.member is not None or path.name.upper() == "DICOMDIR":
            others += 1
            continue
        try:
            files[path] = _read_kind(path)
        except InvalidDicomError:
            others += 1
        except Exception:  # noqa: BLE001 -- pydicom raises whatever it meets, with values in the text
            unreadable[path] = None
    return SendList(files=tuple(files.values()), unreadable=tuple(unreadable), others=others)


def send(files: Sequence[DicomFile], settings: SendSettings, tls: ssl.SSLContext | None = None) -> SendOutcome:
    """Send each file. Raises `PacsUnreachable` or `PacsRefused` if no association could be established."""
    by_kind = sorted(files, key=lambda file: file.kind)
    kinds = list(dict.fromkeys(file.kind for file in by_kind))
    sent: set[Path] = set()
    failed: dict[Path, str] = {}
    for start in range(0, len(kinds), _MOST_CONTEXTS):
        batch_kinds = frozenset(kinds[start : start + _MOST_CONTEXTS])
        batch = _Batch([file for file in by_kind if file.kind in batch_kinds], settings, tls)
        batch.run()
        sent |= batch.sent
        failed |= batch.failed
    return SendOutcome(sent=frozenset(sent), failed=failed)


class _AnswerLost(Exception):
    """The association is over; whether the file arrived is unknown."""


class _Batch:
    """Files whose contexts fit in one association, and the threads that send them."""

    def __init__(self, files: Sequence[DicomFile], settings: SendSettings, tls: ssl.SSLContext | None) -> None:
        self.sent: set[Path] = set()
        self.failed: dict[Path, str] = {}
        self._settings = settings
        self._tls = tls
        self._contexts = [build_context(_VERIFICATION), *_contexts(files)]
        self._queue: queue.SimpleQueue[tuple[DicomFile, int]] = queue.SimpleQueue()
        self._answered = threading.Event()  # the PACS accepted or refused an association
        self._error: TransportError | None = None
        for file in files:
            self._queue.put((file, 1))

    def run(self) -> None:
        """Send until the queue is empty or the PACS is gone; raises as `send`.

        The other associations are requested after the first: a PACS with a limit refuses only those beyond it.
        """
        count = min(self._settings.associations, self._queue.qsize())
        threads = [threading.Thread(target=self._work, name="pacs-send") for _ in range(count)]
        for thread in threads:
            thread.start()
            self._answered.wait()
        for thread in threads:
            thread.join()
        if self._error is not None and not self.sent and not self.failed:
            raise self._error
        for file, _ in self._queued():
            self.failed[file.path] = self._error.reason if self._error else "no-answer"

    def _work(self) -> None:
        """One association after the other, until the queue is empty or none can be established."""
        while not self._queue.empty():
            try:
                with associated(
                    self._settings,
                    "C-STORE",
                    self._contexts,
                    answer_seconds=self._settings.answer_seconds,
                    tls=self._tls,
                ) as association:
                    self._send_over(association)
            except _AnswerLost:
                continue
            except TransportError as error:
                self._error = error
                return
            finally:
                self._answered.set()

    def _send_over(self, association: Association) -> None:
        """Send queued files until none is left; raises `_AnswerLost`."""
        self._answered.set()
        accepted = {(context.abstract_syntax, context.transfer_syntax[0]) for context in association.accepted_contexts}
        for file, attempt in self._queued():
            if file.kind not in accepted:
                self.failed[file.path] = "not-accepted"
                continue
            try:
                status = association.send_c_store(file.path).get("Status")
            except RuntimeError:  # the association ended in between
                status = None
            except Exception:  # noqa: BLE001 -- whatever pydicom meets in a file that changed, maybe half-way through
                self.failed[file.path] = "unreadable"
                raise _AnswerLost from None
            if status is None:
                self._retry(file, attempt)
                raise _AnswerLost
            self._record(file, status)

    def _retry(self, file: DicomFile, attempt: int) -> None:
        if attempt < self._settings.attempts:
            self._queue.put((file, attempt + 1))
        else:
            self.failed[file.path] = "no-answer"

    def _record(self, file: DicomFile, status: int) -> None:
        if code_to_category(status) in {"Success", "Warning"}:  # after a warning the PACS has stored it, too
            self.sent.add(file.path)
        else:
            self.failed[file.path] = _STATUSES.get(min(status >> 8, 0xC0), "status")

    def _queued(self) -> Iterator[tuple[DicomFile, int]]:
        while True:
            try:
                yield self._queue.get_nowait()
            except queue.Empty:
                return


def _read_kind(path: Path) -> DicomFile:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote values
        meta = read_file_meta_info(path)
        if not meta.MediaStorageSOPInstanceUID:  # a value is read, and warned of, when it is first asked for
            raise ValueError("it does not name its instance")
        return DicomFile(path=path, kind=(str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)))


def _contexts(files: Iterable[DicomFile]) -> list[PresentationContext]:
    return [build_context(sop_class, [syntax]) for sop_class, syntax in dict.fromkeys(file.kind for file in files)]
