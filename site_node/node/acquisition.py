"""Acquire over the network: our SCP, the requests to the PACS, and the way of what arrived into spool and ledger."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from shared.errors import InvalidSetting, NoDicomFound
from shared.terminal import trace_lines
from site_node.home.folder import SiteHome
from site_node.home.free_space import FreeSpace
from site_node.home.ledger import Ledger
from site_node.network.arrivals import Arrivals
from site_node.network.dicomweb import Dicomweb
from site_node.network.interface import QueryRetrieve
from site_node.network.query_retrieve import Pacs
from site_node.network.scp import serving
from site_node.network.tls import client_context, server_context
from site_node.node.conflicts import keep_apart
from site_node.node.intake import Intake, enter_reception
from site_node.node.retention import forget_lists
from site_node.node.retrieval import Retrieval, work
from site_node.node.scp_process import listening_apart
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.receive.folder import MIXED_PATIENTS, NO_PATIENT_ID, Reception, receive_folder
from site_node.receive.request_lists import WantedFiles
from site_node.settings.dicomweb import DicomwebSettings
from site_node.settings.dimse import PacsSettings
from site_node.settings.site import SETTINGS_FILE, SiteSettings
from site_node.study import Ending, Reason, Severity

log = structlog.get_logger(__name__)

INCOMPLETE = Reason(
    code="incomplete-retrieval",
    message="The PACS announced more images of this study than came; retry with `ricord-site pacs retry`.",
    severity=Severity.REVIEW,
)


@dataclass(frozen=True)
class Acquisition:
    """What a home needs to acquire. Each thread that works with it opens a ledger of its own."""

    home: SiteHome
    settings: SiteSettings
    pseudonyms: Pseudonyms

    @property
    def arrivals(self) -> Arrivals:
        """Where instances lie until their study is taken in."""
        return Arrivals(self.home.arrivals, self.pseudonyms.study_key)

    @property
    def free_space(self) -> FreeSpace:
        """The disk that the home lies on."""
        return FreeSpace(self.home.folder, self.settings.min_free_mb)

    @property
    def wanted(self) -> WantedFiles:
        """What is asked for."""
        return WantedFiles(self.home.requests)

    def pacs(self) -> QueryRetrieve:
        """The PACS of the settings; raises `InvalidSetting` where they name none, and errors of their files."""
        settings = self.pacs_settings()
        if isinstance(settings, DicomwebSettings):
            return Dicomweb(settings, self.home.folder)
        tls = client_context(settings.tls, self.home.folder) if settings.tls else None
        return Pacs(settings, tls, destination=self.settings.scp.ae_title if self.settings.scp else "")

    def pacs_settings(self) -> PacsSettings | DicomwebSettings:
        """The section `[dicomweb]`, or `[pacs]` held against `[scp]`; raises `InvalidSetting`."""
        settings = self.settings.pacs
        if self.settings.dicomweb is not None:
            if settings is not None:
                raise self._lacking("dicomweb", "`[pacs]` is there too; keep one of them")
            return self.settings.dicomweb
        if settings is None:
            raise self._lacking("pacs", "it is not there; take the signs away before `[pacs]` or `[dicomweb]`")
        if settings.method == "move" and self.settings.scp is None:
            raise self._lacking("pacs.method", '"move" needs `[scp]`, where the PACS sends to')
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
        with serving(scp, self.arrivals, tls):
            yield

    @contextmanager
    def running(self, stop: threading.Event) -> Iterator[None]:
        """Serve the SCP and work on requests beside the block; orderly at its end, when `stop` is set."""
        with ExitStack() as stack:
            self.arrivals.clear_unfinished()
            if self.settings.scp is not None:
                stack.enter_context(listening_apart(self.home.folder, self.settings.scp))
            if self.settings.asks_a_pacs:
                self.pacs()  # settings that cannot work stop the start
                worker = threading.Thread(target=self._work_apart, args=(stop,), name="pacs")
                worker.start()
                stack.callback(worker.join)
                stack.callback(stop.set)
            yield

    def work(self, ledger: Ledger, stop: threading.Event, *, patience: float | None = None) -> int:
        """Attempt the requests that are due; see `site_node.node.retrieval.work`."""
        scp = self.settings.scp
        retrieval = Retrieval(
            pacs=self.pacs(),
            settings=self.pacs_settings(),
            requests=ledger.requests,
            wanted=self.wanted,
            arrivals=self.arrivals,
            has_room=lambda: self.free_space.shortage() is None,
            reserve=max(self.settings.min_free_mb, scp.min_free_mb if scp else 0) << 20,
        )
        return work(retrieval, stop, patience=patience)

    def receive_arrivals(self, ledger: Ledger, *, quiet_seconds: float | None = None) -> tuple[Intake, ...]:
        """Take into spool and ledger every study that got nothing for a while and of which no more is expected."""
        if not self.home.arrivals.is_dir():
            return ()
        scp = self.settings.scp
        quiet = quiet_seconds if quiet_seconds is not None else scp.quiet_seconds if scp else 0.0
        arrivals = self.arrivals
        apart, still = list(arrivals.taken()), list(arrivals.quiet(quiet))
        held = ledger.requests.held()  # asked after what is there: a request is entered before its first image comes
        apart += [(key, arrivals.take(key)) for key in still if key not in held]
        incomplete = ledger.requests.incomplete()
        intakes = []
        for key, path in apart:
            try:
                intakes.append(self._receive(path, ledger, incomplete=key in incomplete))
            except OSError as error:  # it stays set apart and is tried again; the others go on
                log.error("receive.not_taken", study=key, errno=error.errno)
        return tuple(intakes)

    def forget(self, ledger: Ledger, now: datetime) -> int:
        """Remove the lists whose requests ended long enough ago; how many. What came whole is still not asked again."""
        forgotten = forget_lists(
            self.wanted,
            ledger.requests,
            stay=self.settings.originals_stay,
            now=now,
            came=lambda accession: ledger.remember(self._name(accession)),
        )
        if forgotten:
            log.info("requests.forgotten", lists=forgotten)
        return forgotten

    def came(self, ledger: Ledger, accession: str) -> bool:
        """Whether all of an accession number came by a list that is forgotten."""
        return ledger.is_known(self._name(accession))

    def _name(self, accession: str) -> str:
        """What the ledger knows an accession number by: keyed, so that nobody can try numbers without the secret."""
        return self.pseudonyms.study_key(f"accession {accession}")

    def _receive(self, folder: Path, ledger: Ledger, *, incomplete: bool) -> Intake:
        """One study that was set apart; only when the ledger has it do its arrivals go. Raises `DiskNearlyFull`."""
        self.free_space.check()
        try:
            reception = receive_folder(folder, self.home.spool, self.pseudonyms)
        except NoDicomFound:
            reception = Reception(studies=(), refused=(), duplicates=0)
            ledger.add_files([(folder.name, Ending.REFUSED, "no-dicom-found")])
            keep_apart(folder.iterdir(), self.home)  # each was whole when it came: the disk may fail
        if incomplete:
            graver = {NO_PATIENT_ID, MIXED_PATIENTS}
            held = {one.key: INCOMPLETE for one in reception.studies if reception.held.get(one.key) not in graver}
            reception = reception.model_copy(update={"held": {**reception.held, **held}})
        intake = enter_reception(reception, home=self.home, ledger=ledger)
        keep_apart((folder / Path(one.source).name for one in reception.refused), self.home)
        self.arrivals.remove(folder)
        return intake

    def _work_apart(self, stop: threading.Event) -> None:
        """Work on requests until `stop`: what fails, such as a full disk under the ledger, is tried again."""
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

    def _lacking(self, key: str, problem: str) -> InvalidSetting:
        return InvalidSetting(file=str(self.home.folder / SETTINGS_FILE), line="1", key=key, problem=problem)
