"""Look up sites and agreements by the names that people and certificates use."""

import unicodedata
from datetime import datetime

from coordinator.agreements.lifecycle import in_force
from coordinator.store.interface import Reading
from coordinator.store.records import Agreement, Site
from coordinator.store.references import Kind, resolve
from shared.agreement import AgreementTerms, Mode
from shared.errors.inputs import InvalidIdentifier, NotFound
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


def named_site(reading: Reading, reference: str) -> Site:
    """The site that a person means, by name or SITEID or a beginning; raises `NotFound`, `AmbiguousReference`."""
    return site_of(reading, _resolved(reading, "site", reference))


def named_site_id(reading: Reading, reference: str) -> SiteId:
    """Its SITEID; one that is given whole need not be issued here. Raises `NotFound` also before there is one."""
    if SiteId.pattern.fullmatch(reference):
        return SiteId(reference)
    site = named_site(reading, reference)
    if site.site_id is None:
        raise NotFound(kind="SITEID of", name=site.name)
    return site.site_id


def named_agreement(reading: Reading, reference: str) -> Agreement:
    """Likewise an agreement, also by its id."""
    return agreement_of(reading, _resolved(reading, "agreement", reference))


def _resolved(reading: Reading, kind: Kind, reference: str) -> str:
    """As `resolve`; where a hospital has that name but for its case, the error says how it is written."""
    try:
        return resolve(reading, kind, reference)
    except NotFound:
        spelling = known_names(reading).get(folded(reference))
        if spelling is None:
            raise
        raise NotFound(kind=kind, name=f"{reference}; there is `{spelling}`") from None


def known_names(reading: Reading) -> dict[str, str]:
    """The name of every site, by what it is without regard to case."""
    return {folded(site.name): site.name for site in reading.sites()}


def folded(name: str) -> str:
    """A name without regard to case and form."""
    return unicodedata.normalize("NFKC", name).casefold()


def version_of(reading: Reading, agreement: Agreement, version: int) -> Agreement:
    """An agreement as both sides signed it in `version`, which may have been replaced since; raises `NotFound`."""
    if agreement.version == version:
        return agreement
    replaced = reading.agreement_version(agreement.id, version)
    if replaced is None:
        raise NotFound(kind="version of the agreement", name=str(version))
    return agreement.model_copy(update={name: value for name, value in replaced if name != "agreement"})


def terms_in_force(reading: Reading, reference: SiteId | AgreementId, mode: Mode, now: datetime) -> AgreementTerms:
    """The terms of a site's agreement under which it may do `mode` now.

    Raises `NotFound`, `AgreementNotExecuted` or `AgreementModeNotAllowed`. Everything that moves data calls this first.
    """
    return in_force(agreement_of(reading, reference), now, mode)
