"""Acquire studies over the network: serve the SCP, work on requests to the PACS, receive what arrived."""

import ssl
import threading
from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import structlog

from shared.errors.inputs import NoDicomFound
from shared.errors.settings import HomeBusy, InvalidSetting
from shared.ids import StudyKey
from shared.terminal import trace_lines
from site_node.home.associations import count_association
from site_node.home.folder import SiteHome
from site_node.home.free_space import FreeSpace
from site_node.home.ledger import OTHER_BYTES, Ledger
from site_node.home.retrieve_requests import RequestEntry
from site_node.network.arrivals import Arrivals
from site_node.network.dicomweb import Dicomweb
from site_node.network.interface import QueryRetrieve
from site_node.network.query_retrieve import Pacs
from site_node.network.scp import serving
from site_node.network.tls import client_context, server_context
from site_node.node.conflicts import copy_to_quarantine
from site_node.node.intake import Intake, enter_reception
from site_node.node.retention import forget_lists
from site_node.node.retrieval import Retrieval, work
from site_node.node.scp_process import serving_in_process
from site_node.pseudonyms.names import KeyedNames
from site_node.reasons import reason_for
from site_node.receive.folder import MIXED_PATIENTS, NO_PATIENT_ID, Reception, receive_folder
from site_node.receive.request_lists import RequestLists
from site_node.settings.dicomweb import DicomwebSettings
from site_node.settings.dimse import PacsSettings
from site_node.settings.site import SETTINGS_FILE, SiteSettings
from site_node.study import Ending

log = structlog.get_logger(__name__)

INCOMPLETE = reason_for("incomplete-retrieval")


@dataclass(frozen=True)
class Acquisition:
    """A home's acquisition. Each thread that works with it opens its own ledger."""

    home: SiteHome
    settings: SiteSettings
    names: KeyedNames

    @property
    def arrivals(self) -> Arrivals:
        """Where instances lie until their study is received into the spool."""
        return Arrivals(self.home.arrivals, self.names.study_key)

    @property
    def free_space(self) -> FreeSpace:
        """The disk that the home lies on."""
        return FreeSpace(self.home.folder, self.settings.min_free_mb)

    @property
    def lists(self) -> RequestLists:
        """The lists of requests to the PACS."""
        return RequestLists(self.home.requests)

    def pacs(self) -> QueryRetrieve:
        """The PACS of the settings; raises `InvalidSetting` where they name none, and the errors of its TLS files."""
        settings = self.pacs_settings()
        if isinstance(settings, DicomwebSettings):
            return Dicomweb(settings, self.home.folder)
        tls = client_context(settings.tls, self.home.folder) if settings.tls else None
        return Pacs(settings, tls, destination=self.settings.scp.ae_title if self.settings.scp else "")

    def pacs_settings(self) -> PacsSettings | DicomwebSettings:
        """The section `[dicomweb]`, or `[pacs]` checked against `[scp]`; raises `InvalidSetting`."""
        settings = self.settings.pacs
        if self.settings.dicomweb is not None:
            if settings is not None:
                raise self._invalid("dicomweb", "`[pacs]` is there too; keep one of them")
            return self.settings.dicomweb
        if settings is None:
            raise self._invalid("pacs", "it is not there; take the signs away before `[pacs]` or `[dicomweb]`")
        if settings.method == "move" and self.settings.scp is None:
            raise self._invalid("pacs.method", '"move" needs `[scp]`, where the PACS sends to')
        return settings

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Serve the SCP, if it is set, until the block ends; only for the one process that moves studies."""
        scp = self.settings.scp
        self.arrivals.clear_unfinished()
        if scp is None:
            yield
            return
        tls: ssl.SSLContext | None = server_context(scp.tls, self.home.folder) if scp.tls else None
        with serving(scp, self.arrivals, tls, count_end=partial(count_association, self.home.ledger)):
            yield

    @contextmanager
    def running(self, stop: threading.Event) -> Iterator[None]:
        """Serve the SCP and work on requests beside the block; at its end set `stop` and wait for both."""
        with ExitStack() as stack:
            self.arrivals.clear_unfinished()
            if self.settings.scp is not None:
                stack.enter_context(serving_in_process(self.home.folder, self.settings.scp))
            if self.settings.asks_a_pacs:
                self.pacs()  # settings that cannot work stop the start
                worker = threading.Thread(target=self._work_until, args=(stop,), name="pacs")
                worker.start()
                stack.callback(worker.join)
                stack.callback(stop.set)
            yield

    def work(
        self,
        ledger: Ledger,
        stop: threading.Event,
        *,
        patience: float | None = None,
        attempted: Callable[[RequestEntry], None] = lambda _: None,
    ) -> int:
        """Attempt the requests that are due; see `site_node.node.retrieval.work`."""
        scp = self.settings.scp
        retrieval = Retrieval(
            pacs=self.pacs(),
            settings=self.pacs_settings(),
            requests=ledger.requests,
            lists=self.lists,
            arrivals=self.arrivals,
            has_space=lambda: self.free_space.shortage() is None,
            reserve=max(self.settings.min_free_mb, scp.min_free_mb if scp else 0) << 20,
        )
        return work(retrieval, stop, patience=patience, attempted=attempted)

    def receive_arrivals(
        self, ledger: Ledger, *, quiet_seconds: float | None = None, of: Container[StudyKey] | None = None
    ) -> tuple[Intake, ...]:
        """Receive every study of which no more is expected: it got no instance for a while, or came whole by a request.

        With `of`, only these studies, and those that were set aside before. Where a command receives, the
        others wait for the next call.
        """
        if not self.home.arrivals.is_dir():
            return ()
        scp = self.settings.scp
        quiet = quiet_seconds if quiet_seconds is not None else scp.quiet_seconds if scp else 0.0
        arrivals = self.arrivals
        set_aside, quiet_keys = (
            list(arrivals.set_aside_folders()),
            list(arrivals.quiet_studies(quiet, ledger.requests.complete_studies())),
        )
        awaited = ledger.requests.awaited_studies()  # read last: a request is entered before its first image arrives
        ready = [key for key in quiet_keys if key not in awaited and (of is None or key in of)]
        set_aside += [(key, arrivals.set_aside(key)) for key in ready]
        incomplete = ledger.requests.incomplete_studies()
        intakes = []
        for key, path in set_aside:
            try:
                with self.home.receiving():
                    intakes.append(self._receive(path, ledger, incomplete=key in incomplete))
            except HomeBusy:  # a command receives; arrivals wait for it
                break
            except OSError as error:  # it stays set aside and is tried again; the others go on
                log.error("receive.not_taken", study=key, errno=error.errno)
        return tuple(intakes)

    def forget(self, ledger: Ledger, now: datetime) -> int:
        """Remove the lists whose requests ended long enough ago; accession numbers that arrived whole stay known."""
        forgotten = forget_lists(
            self.lists,
            ledger.requests,
            stay=self.settings.originals_stay,
            now=now,
            remember=lambda accession: ledger.accession_numbers.add(self._name(accession)),
        )
        if forgotten:
            log.info("requests.forgotten", lists=forgotten)
        return forgotten

    def has_arrived(self, ledger: Ledger, accession: str) -> bool:
        """Whether an accession number arrived whole by a list that is forgotten."""
        return self._name(accession) in ledger.accession_numbers

    def _name(self, accession: str) -> str:
        """The ledger's name of an accession number: keyed, so that numbers cannot be tried without the secret."""
        return self.names.study_key(f"accession {accession}")

    def _receive(self, folder: Path, ledger: Ledger, *, incomplete: bool) -> Intake:
        """Receive a study that was set aside, then remove its arrivals. Raises `DiskNearlyFull`."""
        self.free_space.check()
        try:
            reception = receive_folder(folder, self.home.spool, self.names)
        except NoDicomFound:
            reception = Reception(studies=(), refused=(), duplicates=0)
            ledger.add_files([(folder.name, Ending.REFUSED, "no-dicom-found")])
            copy_to_quarantine(folder.iterdir(), self.home)  # each was whole on arrival: the disk may be failing
        if incomplete:
            graver, held = {NO_PATIENT_ID, MIXED_PATIENTS}, reception.held
            reasons = {study.key: INCOMPLETE for study in reception.studies if held.get(study.key) not in graver}
            reception = reception.model_copy(update={"held": {**held, **reasons}})
        intake = enter_reception(reception, home=self.home, ledger=ledger)
        refused = (file for file in reception.refused if file.reason.code != OTHER_BYTES)  # those are held as images
        copy_to_quarantine((folder / Path(file.source).name for file in refused), self.home)
        self.arrivals.remove(folder)
        return intake

    def _work_until(self, stop: threading.Event) -> None:
        """Work on requests until `stop`; after an error, such as a full disk under the ledger, try again."""
        ledger = Ledger(self.home.ledger)
        try:
            while not stop.is_set():
                try:
                    self.work(ledger, stop)
                except Exception as error:  # noqa: BLE001 -- nobody would start this thread again
                    log.error("pacs.problem", trace=trace_lines(error))
                    stop.wait(self.settings.poll_seconds)
        finally:
            ledger.close()

    def _invalid(self, key: str, problem: str) -> InvalidSetting:
        return InvalidSetting(file=str(self.home.folder / SETTINGS_FILE), line="1", key=key, problem=problem)
