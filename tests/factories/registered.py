"""Sites in the store with an agreement, for tests that enrol nobody."""

from datetime import UTC, datetime, timedelta

from coordinator.store.records import Agreement, Certificate, Site
from coordinator.store.sql import SqlStore
from shared.agreement import AgreementTerms, CuratorKeys, Mode, Scope, State
from shared.crypto.pki import Role
from shared.crypto.signing import SigningKey
from shared.ids import AgreementId, Sha256, SiteId
from shared.manifest import canonical_json
from shared.protocol.loader import load_protocol
from shared.signed import Signed


def add_site(
    store: SqlStore,
    coordinator: SigningKey,
    site_id: SiteId,
    key: SigningKey,
    *,
    state: State = State.EXECUTED,
    modes: tuple[Mode, ...] = (Mode.COHORT, Mode.TRAINING),
) -> None:
    """A site with an agreement in `state`."""
    now, name = datetime.now(UTC), f"Hospital {site_id}"
    terms = AgreementTerms(
        id=AgreementId("A-" + str(site_id).zfill(12)),
        version=1,
        federation="test-federation",
        site_name=name,
        text_sha256=Sha256("0" * 64),
        scope=Scope(description="chest radiographs", modalities=("DX",)),
        modes=modes,
        curator=CuratorKeys(
            name="curator",
            recipient="age1",
            fingerprint=key.fingerprint,
            verify_key=str(key.public),
            statement=Signed(document="", signature=""),
        ),
        coordinator_fingerprint=coordinator.fingerprint,
        licence="CC-BY",
        protocol="ricord",
        protocol_digest=load_protocol("ricord").digest,
    )
    agreement = Agreement(
        id=terms.id, site_name=name, state=state, version=1, terms=canonical_json(terms).decode(), changed_at=now
    )
    site = Site(
        name=name, agreement=terms.id, site_id=site_id, verify_key=str(key.public), recorded_at=now, enrolled_at=now
    )
    with store.begin() as work:
        work.put_agreement(agreement)
        work.put_site(site)
        work.revoke(Role.SITE, site_id, now)
        serial = f"{site_id}{len(work.certificates(Role.SITE, site_id))}"
        ends = now + timedelta(days=30)
        work.add_certificate(Certificate(serial=serial, role=Role.SITE, name=site_id, ends_at=ends))
