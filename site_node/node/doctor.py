"""An examination of a home: which parts work, which do not, and what to do about it."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.agreement import State as AgreementState
from shared.agreement_steps import next_step
from shared.counts import counted
from shared.crypto import pki
from shared.crypto.keys import load_flower_public, load_secret, load_signing, load_tls
from shared.errors.agreements import AgreementTerminated
from shared.errors.base import RicordError
from shared.errors.settings import HomeRestored
from shared.errors.transport import TransportError
from shared.examination import Examined, Health, Result, check_folders, examined, sentence_of
from site_node.home.folder import FOLDERS, SiteHome
from site_node.home.ledger import State
from site_node.home.secret import check_secret
from site_node.membership.record import Membership
from site_node.membership.renewal import Standing, standing
from site_node.membership.step import step_of
from site_node.membership.witness import Witness
from site_node.node.acquisition import Acquisition
from site_node.node.obstacles import kept_obstacle
from site_node.node.open import Node, open_node
from site_node.node.waits import federated_work, next_of_node
from site_node.pixels.client import PixelChecker

_SKEW = timedelta(minutes=5)  # that a clock may be behind


def examine(home: SiteHome, now: datetime) -> Iterator[Examined]:
    """Examine part after part; what depends on settings, ledger or membership is left out where they cannot be read."""
    settings = examined("settings", lambda: (Health.GOOD, f"{home.load().name}, in {home.settings_file}."))
    yield settings
    if settings.health is Health.PROBLEM:
        return
    yield examined("keys", lambda: _keys(home))
    try:
        with open_node(home, writing=False) as node:
            if made_at := node.ledger.restoration.made_at:
                yield Examined(part="home", health=Health.PROBLEM, sentence=HomeRestored(made_at=made_at).public)
            for part, examination in _Examination(node, now).parts().items():
                yield examined(part, examination)
    except (RicordError, OSError, sqlite3.Error) as error:
        yield Examined(part="home", health=Health.PROBLEM, sentence=sentence_of(error))


def _keys(home: SiteHome) -> Result:
    load_signing(home.signing_key)
    load_tls(home.tls_key)
    load_flower_public(home.flower_key)
    load_secret(home.pseudonym_key)
    return Health.GOOD, "All four can be read, and by their owner only."


@dataclass
class _Examination:
    """What is examined in an open home, each part by one method."""

    node: Node
    now: datetime
    answer: Standing | None = None  # the coordinator's
    end: AgreementTerminated | None = None  # or this

    def parts(self) -> dict[str, Callable[[], Result]]:
        """The parts, in the order in which they depend on each other."""
        return {
            "secret": self.secret,
            "clock": self.clock,
            "disk": self.disk,
            "folders": self.folders,
            "inbox": self.inbox,
            "OCR": self.ocr,
            "PACS": self.pacs,
            "certificate": self.certificate,
            "coordinator": self.coordinator,
            "agreement": self.agreement,
            "sending": self.sending,
            "witness": self.witness,
            "federated work": self.federated,
        }

    @property
    def _membership(self) -> Membership | None:
        return self.node.membership

    def secret(self) -> Result:
        """The pseudonym secret is the one that the ledger was begun with."""
        file = self.node.home.pseudonym_key
        check_secret(load_secret(file), self.node.ledger, file)
        return Health.GOOD, "It is the one that this ledger was begun with; keep its backup (`ricord-site key backup`)."

    def clock(self) -> Result:
        """The clock is not before what already happened here."""
        moments = [entry.changed_at for entry in self.node.ledger.studies()]
        if self._membership is not None:
            moments.append(self._membership.executed_at)
        if moments and self.now + _SKEW < max(moments):
            problem = f"It says {self.now:%Y-%m-%d %H:%M} UTC, before {max(moments):%Y-%m-%d %H:%M} UTC, when something"
            return Health.PROBLEM, f"{problem} was done here; set it, by NTP best."
        return Health.GOOD, f"It says {self.now:%Y-%m-%d %H:%M} UTC."

    def disk(self) -> Result:
        """There is space."""
        space = self.node.free_space
        space.check()
        return Health.GOOD, f"{space.free(space.folder) >> 20} MB are free, {space.reserve_mb} are reserved."

    def ocr(self) -> Result:
        """The search for text in pixels starts."""
        if not self.node.settings.pixel_check:
            return (
                Health.NOTE,
                "It is off (`pixel_check = false`): text in pixels is not looked for and leaves with them.",
            )
        with PixelChecker() as checker:
            checker.start()
        return Health.GOOD, "The search for text in pixels starts."

    def pacs(self) -> Result:
        """The PACS answers."""
        if not self.node.settings.asks_a_pacs:
            return Health.NOTE, "None is named in site.toml; `[pacs]` or `[dicomweb]` would name one."
        acquisition = Acquisition(self.node.home, self.node.settings, self.node.stages.names)
        acquisition.pacs().echo()
        return Health.GOOD, f"{acquisition.pacs_settings().peer} answers."

    def certificate(self) -> Result:
        """The certificate is this federation's and in time."""
        if self._membership is None:
            return Health.NOTE, "It comes with enrolment."
        certificate = self._membership.certificate.read_bytes()
        pki.check_certificate(certificate, self._membership.root.read_bytes(), now=self.now)
        ends, renewal = pki.expires_at(certificate), pki.renew_at(certificate)
        return (
            Health.GOOD,
            f"It is good until {ends:%Y-%m-%d}; it is renewed with the first connection from {renewal:%Y-%m-%d} on.",
        )

    def folders(self) -> Result:
        """The folders of the home can be read and written."""
        home = self.node.home.folder
        return check_folders({"the home": home} | {f"`{name}`": home / name for name in FOLDERS})

    def inbox(self) -> Result:
        """The folder that `run` watches is there, and can be read."""
        folder = self.node.home.inbox(self.node.settings)
        if not folder.is_dir():
            return Health.PROBLEM, f"The inbox of the settings, {folder}, is not there; `run` receives nothing from it."
        if not os.access(folder, os.R_OK | os.X_OK):
            return Health.PROBLEM, f"This account may not read the inbox, {folder}; mend its owner or its mode."
        return Health.GOOD, f"{folder} can be read."

    def coordinator(self) -> Result:
        """The coordinator answers this site."""
        if self._membership is None:
            return Health.NOTE, "It is asked once this site is enrolled."
        try:
            self.answer = standing(self._membership)
        except AgreementTerminated as error:
            self.end = error
        return Health.GOOD, f"{self._membership.addresses.main} answers."

    def agreement(self) -> Result:
        """The agreement is in force, for the protocol that is installed."""
        if self._membership is None:
            step = step_of(self.node.home)
            return Health.NOTE, f"It is {step.state}. Next: {step.next}."
        self._membership.check_covers(self.node.edition)
        if self.end is not None:
            raise self.end
        if self.answer is None:
            return Health.NOTE, "The coordinator, which knows, did not say."
        health = Health.GOOD if self.answer.state is AgreementState.EXECUTED else Health.PROBLEM
        return health, f"It is {self.answer.state}. Next: {next_step(self.answer.state)}."

    def sending(self) -> Result:
        """Nothing that is sealed waits, or what the last try met."""
        waiting = self.node.ledger.state_counts().get(State.SEALED, 0)
        if not waiting:
            return Health.GOOD, "Nothing that is sealed waits to be sent."
        waits, obstacle = counted(waiting, "sealed study", "waits"), kept_obstacle(self.node.home)
        if obstacle is None:
            return Health.NOTE, f"{waits}. Next: {next_of_node(running=self.node.home.is_served())}."
        health = Health.NOTE if isinstance(obstacle.error, TransportError) else Health.PROBLEM
        return health, f"{waits}; since {obstacle.since:%Y-%m-%d %H:%M} UTC each try ends so: {obstacle.error.public}"

    def witness(self) -> Result:
        """The coordinator proved lately that its audit log contains what it signed for this site."""
        if self._membership is None:
            return Health.NOTE, "The coordinator's audit log is witnessed once this site is enrolled."
        witness = Witness(self.node.home)
        witness.check()
        head, kept = witness.head(self._membership.coordinator_key), witness.witnessed()
        if head is None or kept is None:
            return (
                Health.NOTE,
                "The coordinator was not asked to prove its audit log yet; `ricord-site run` asks daily.",
            )
        proven = f"{kept.proven_at:%Y-%m-%d}"
        if kept.is_late(self.now):
            return (
                Health.PROBLEM,
                f"The last proof of its audit log is of {proven}; `ricord-site witness ask` asks now.",
            )
        return (
            Health.GOOD,
            f"Its audit log of {head.size} entries was proven on {proven}, every receipt here among them.",
        )

    def federated(self) -> Result:
        """Federated work is possible where the agreement covers it."""
        work = federated_work(self.node, running=self.node.home.is_served())
        health = Health.GOOD if work.possible else Health.PROBLEM if work.modes else Health.NOTE
        return health, f"{', '.join(work.modes) or 'None'}; {work.next}."
