"""A running coordinator on loopback with members, for tests of what crosses the wire."""

import hashlib
import json
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc

from coordinator.curation.membership import CuratorHome, join
from coordinator.home.identity import Identity
from coordinator.home.init import create_federation, open_home_store, open_identity
from coordinator.home.settings import Home, Settings
from coordinator.operator.channel import operator_channel
from coordinator.research.home import ResearcherHome
from coordinator.research.home import enrol as enrol_researcher
from coordinator.service.composition import services
from coordinator.service.server import serving
from coordinator.store.interface import Reading
from shared.crypto.keys import load_secret, load_signing
from shared.crypto.signing import sign_manifest
from shared.ids import PatientPseudonym, Sha256, StudyKey, Uid
from shared.manifest import Manifest
from shared.proto.ricord.v1 import agreement_pb2, site_pb2
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from shared.proto.ricord.v1.site_pb2_grpc import SiteServiceStub
from shared.protocol.loader import load_protocol
from site_node.deidentify.study import deidentify
from site_node.home.folder import SiteHome, init_home
from site_node.home.ledger import Ledger, State
from site_node.membership.agreement import sign_agreement
from site_node.membership.enrolment import enrol
from site_node.membership.invitation import read_agreement
from site_node.membership.record import Membership
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.seal.package import seal
from site_node.study import Deidentified, Sealed, Validated
from site_node.submit.client import submitting
from tests.factories.dicom import make_ct
from tests.factories.ports import free_ports
from tests.factories.studies import make_included, make_received
from tests.factories.validated import digest_of

ALL_MODES = ("cohort", "statistics", "submit", "training")


@dataclass
class Time:
    """A clock that tests move."""

    ahead: timedelta = field(default_factory=timedelta)

    def __call__(self) -> datetime:
        """The time of day, plus what was added."""
        return datetime.now(UTC) + self.ahead


@dataclass
class Federation:
    """A running coordinator, and ways to act on it as its operator."""

    home: Home
    settings: Settings
    time: Time
    folder: Path

    @property
    def identity(self) -> Identity:
        """The coordinator's own keys."""
        return open_identity(self.home, self.settings)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve in this process while the block runs; after it, again on the same ports."""
        store = open_home_store(self.home, self.settings)
        try:
            identity = self.identity
            extra = services(self.home, self.settings, identity, store)
            with serving(self.home, self.settings, identity, store, extra=extra, clock=self.time):
                yield
        finally:
            store.close()

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """What the store holds."""
        store = open_home_store(self.home, self.settings)
        try:
            with store.read() as reading:
                yield reading
        finally:
            store.close()

    @contextmanager
    def operator(self) -> Iterator[grpc.Channel]:
        """A channel with the operator's certificate."""
        with operator_channel(self.home) as channel:
            yield channel

    def invite(self, name: str) -> str:
        """An invitation token."""
        with self.operator() as channel:
            answer = SiteServiceStub(channel).InviteSite(site_pb2.InviteSiteRequest(site_name=name))
        return answer.token

    def join_token(self, role: str, name: str) -> str:
        """A join token."""
        with self.operator() as channel:
            request = site_pb2.IssueJoinTokenRequest(role=role, name=name)
            return SiteServiceStub(channel).IssueJoinToken(request).token

    def curator(self, name: str = "curator") -> CuratorHome:
        """An enrolled curator."""
        home = CuratorHome(self.folder / f"curator-{name}")
        join(home, self.join_token("curator", name), protocol="ricord")
        return home

    def researcher(self, name: str = "researcher") -> ResearcherHome:
        """An enrolled researcher."""
        home = ResearcherHome(self.folder / name)
        enrol_researcher(home, self.join_token("researcher", name))
        return home

    def draft(
        self,
        name: str,
        *,
        curator: str = "curator",
        modes: tuple[str, ...] = ALL_MODES,
        studies: int = 0,
        editions: str = "",
    ) -> None:
        """Terms for an invited site."""
        request = agreement_pb2.DraftAgreementRequest(
            site_name=name,
            curator=curator,
            modes=modes,
            scope="Chest imaging of one hospital",
            modalities=["CT", "CR", "DX"],
            licence="CC BY-NC 4.0",
            studies=studies,
            editions=editions,
        )
        with self.operator() as channel:
            AgreementServiceStub(channel).DraftAgreement(request)

    def execute(self, name: str) -> str:
        """The join token of a countersigned agreement."""
        with self.operator() as channel:
            request = agreement_pb2.ExecuteAgreementRequest(reference=name)
            return AgreementServiceStub(channel).ExecuteAgreement(request).token

    def suspend(self, name: str) -> None:
        """Take an agreement out of force."""
        with self.operator() as channel:
            AgreementServiceStub(channel).SuspendAgreement(agreement_pb2.SuspendAgreementRequest(reference=name))

    def signed_site(self, name: str, **terms: Any) -> SiteHome:
        """A site that has read and signed its agreement with `terms` as in `draft`; a curator must have enrolled."""
        site = init_home(self.folder / name.replace(" ", "-"), name=name)
        token = self.invite(name)
        self.draft(name, **terms)
        read_agreement(site, token)
        sign_agreement(site, token, signatory="A. Signatory, Director")
        return site

    def site(self, name: str, **terms: Any) -> tuple[SiteHome, Membership]:
        """An enrolled site; a curator must have enrolled."""
        site = self.signed_site(name, **terms)
        return site, enrol(site, self.execute(name))


def make_settings(**changes: object) -> Settings:
    """Settings with free ports."""
    ports = free_ports(3)
    values = dict(zip(("enrolment_port", "main_port", "fleet_port"), ports, strict=True))
    return Settings.model_validate({"federation": "test-federation", **values, **changes})


def settings_text(settings: Settings) -> str:
    """`coordinator.toml` for `settings`."""
    shown = settings.model_dump(mode="json", exclude_defaults=True)
    sections = {"": shown, **{name: shown.pop(name) for name in list(shown) if isinstance(shown[name], dict)}}
    lines = [
        line
        for section, values in sections.items()
        for line in (
            *([f"[{section}]"] if section else []),
            *(f"{name} = {json.dumps(value)}" for name, value in values.items()),
        )
    ]
    return "\n".join([*lines, ""])


def make_federation(folder: Path, **changes: object) -> Federation:
    """A new federation whose coordinator does not serve yet."""
    settings, home = make_settings(**changes), Home(folder / "coordinator")
    create_federation(home, settings, settings_text(settings))
    return Federation(home, settings, Time(), folder)


@contextmanager
def running_federation(folder: Path, **changes: object) -> Iterator[Federation]:
    """A new federation whose coordinator serves in this process while the block runs."""
    federation = make_federation(folder, **changes)
    with federation.serving():
        yield federation


def sealed_study(
    site: SiteHome, member: Membership, *, sequence: int = 1, slices: int = 3, study: str = "study-1"
) -> Sealed:
    """A new sealed study of a site in its outbox; `slices` makes it larger, `study` another one."""
    folder = site.folder / "work" / f"made-{secrets.token_hex(4)}"
    deidentified = deidentify(
        make_included(make_received(folder / "spool", make_ct(slices=slices, study=study))),
        profile=load_protocol().profile,
        pseudonyms=Pseudonyms(load_secret(site.pseudonym_key), member.site_id),
        out=folder / "deidentified",
    )
    assert isinstance(deidentified, Deidentified)
    return seal(
        Validated(
            study=deidentified,
            digests={instance.sop_instance_uid: digest_of(instance.path) for instance in deidentified.instances},
            report_sha256=Sha256("c" * 64),
            checked_at=datetime.now(UTC),
        ),
        outbox=site.outbox,
        site_id=member.site_id,
        agreement=member.agreement,
        agreement_version=member.agreement_version,
        recipient=member.recipient,
        protocol_digest=member.protocol_digest,
        sequence=sequence,
        signing_key=load_signing(site.signing_key),
    )


def submit_and_enter(home: SiteHome, member: Membership, *studies: Sealed) -> None:
    """Submit studies, and enter them into the ledger as the pipeline does."""
    with closing(Ledger(home.ledger)) as ledger, submitting(home, member) as submit:
        for sealed in studies:
            submitted, manifest = submit(sealed), sealed.manifest.manifest
            ledger.add_study(sealed.key, [f"{sealed.key}.dcm"], state=State.RECEIVED)
            ledger.submissions.enter(manifest)
            ledger.advance(
                sealed.key,
                State.SUBMITTED,
                study=manifest.study,
                receipt=submitted.receipt.name,
                audit_number=submitted.audit_number,
            )


def sealed_bytes(site: SiteHome, member: Membership, size: int, *, sequence: int = 1, **changes: object) -> Sealed:
    """A manifest over `size` random bytes, signed by the site: the coordinator cannot tell it from a study."""
    data = secrets.token_bytes(size)
    digest = Sha256(hashlib.sha256(data).hexdigest())
    sealed = _signed_over(digest, size, site, member, sequence=sequence, **changes)
    sealed.ciphertext.write_bytes(data)
    return sealed


def sealed_zeros(site: SiteHome, member: Membership, size: int) -> Sealed:
    """As `sealed_bytes`, over a sparse file, which takes neither memory nor room on the disk."""
    with tempfile.TemporaryFile(dir=site.outbox) as file:
        file.truncate(size)
        digest = Sha256(hashlib.file_digest(file, "sha256").hexdigest())
    sealed = _signed_over(digest, size, site, member)
    with sealed.ciphertext.open("wb") as file:
        file.truncate(size)
    return sealed


def _signed_over(
    digest: Sha256, size: int, site: SiteHome, member: Membership, *, sequence: int = 1, **changes: object
) -> Sealed:
    manifest = Manifest(
        site_id=member.site_id,
        agreement=member.agreement,
        agreement_version=member.agreement_version,
        protocol_digest=member.protocol_digest,
        study=Uid(f"2.25.{int(digest[:30], 16)}"),
        patient=PatientPseudonym(f"{member.site_id}-000001"),
        series_count=1,
        instance_count=1,
        modalities=("CT",),
        contents_sha256=Sha256(digest[::-1]),
        ciphertext_sha256=digest,
        ciphertext_size=size,
        recipient=member.recipient,
        sequence=1,
    ).model_copy(update={"sequence": sequence, **changes})
    ciphertext = site.outbox / f"{manifest.contents_sha256}.age"
    signed = sign_manifest(manifest, load_signing(site.signing_key))
    return Sealed(key=StudyKey(digest[:32]), ciphertext=ciphertext, manifest=signed)
