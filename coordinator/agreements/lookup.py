"""Look up sites and agreements by the names that people and certificates use."""

from datetime import datetime

from coordinator.agreements.lifecycle import in_force
from coordinator.store.interface import Reading
from coordinator.store.records import Agreement, Site
from shared.agreement import AgreementTerms, Mode
from shared.errors import InvalidIdentifier, NotFound
from shared.ids import AgreementId, SiteId


def site_of(reading: Reading, reference: str) -> Site:
    """A site by name or SITEID; raises `NotFound`."""
    site = reading.site(reference)
    if site is None:
        raise NotFound(kind="site", name=reference)
    return site


def agreement_of(reading: Reading, reference: str) -> Agreement:
    """An agreement by its id, its site's name or SITEID; raises `NotFound`."""
    try:
        agreement_id = AgreementId(reference)
    except InvalidIdentifier:
        agreement_id = site_of(reading, reference).agreement
    agreement = reading.agreement(agreement_id)
    if agreement is None:
        raise NotFound(kind="agreement", name=reference)
    return agreement


def terms_in_force(reading: Reading, site_id: SiteId, mode: Mode, now: datetime) -> AgreementTerms:
    """The terms under which a site may do `mode` now.

    Raises `NotFound`, `AgreementNotExecuted` or `AgreementModeNotAllowed`. Everything that moves data calls this first.
    """
    return in_force(agreement_of(reading, site_id), now, mode)
