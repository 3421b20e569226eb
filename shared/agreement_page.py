"""An agreement's terms as a page for a person."""

import textwrap
from datetime import datetime, time, timedelta
from types import MappingProxyType

from shared.agreement import AgreementTerms, Mode, short_digest
from shared.counts import counted

_COLUMNS = 100

_MODE_WORDS = MappingProxyType(
    {
        Mode.COHORT: "pooled counts of the cohort",
        Mode.SUBMIT: "submission of sealed studies",
        Mode.STATISTICS: "federated statistics",
        Mode.TRAINING: "federated training",
    }
)


def terms_page(terms: AgreementTerms) -> str:
    """The terms as clauses with numbers, under their heading; every key and digest is as short as it is compared."""
    heading = f"Terms of agreement {terms.id}, version {terms.version}"
    clauses = [f"{number:2}. {_wrapped(text)[4:]}" for number, text in enumerate(_sentences(terms), start=1)]
    return "\n".join([heading, "=" * len(heading), *clauses])


def _wrapped(text: str) -> str:
    return "\n".join(
        textwrap.fill(line, _COLUMNS, initial_indent=" " * 4, subsequent_indent=" " * 4) for line in text.splitlines()
    )


def _protocol(terms: AgreementTerms) -> str:
    """Which protocol, and which of its editions."""
    digest, editions = f"digest {terms.protocol_digest[:16]}…", terms.editions
    if editions is None:
        return f"The protocol is {terms.protocol}, {digest}, and no other edition of it."
    named = f"The protocol is {terms.protocol}, edition {editions.signed}, {digest}"
    if editions.first == editions.last:
        return f"{named}, and no other edition of it."
    return (
        f"{named}. Its other editions from {editions.first} to {editions.last} are covered too, whatever they change;"
        " the hospital's program says what a new one changes (`ricord-site explain --changes`) and goes on under it."
        " A later edition needs an amendment of this agreement."
    )


def _end(ends: datetime | None) -> str:
    """The end of a whole day as that day, which is how it was drafted."""
    if ends is None:
        return "It has no last day."
    if ends.time() != time():
        return f"It ends on {ends:%Y-%m-%d %H:%M} UTC."
    return f"Its last day is {ends - timedelta(days=1):%Y-%m-%d}, in UTC."


def _sentences(terms: AgreementTerms) -> tuple[str, ...]:
    scope, curator = terms.scope, terms.curator
    earlier = ", ".join(terms.earlier_site_ids)
    return (
        f"Agreement {terms.id}, version {terms.version}, is between {terms.site_name} and {terms.federation}.",
        f"It covers {', '.join(scope.modalities)}: {scope.description}.",
        *([f"It covers {counted(scope.studies, 'study')} at most."] if scope.studies else []),
        *([f"Its data elements are {', '.join(scope.data_elements)}."] if scope.data_elements else []),
        *([f"The data come from {', '.join(scope.locations)}."] if scope.locations else []),
        f"It allows {', '.join(_MODE_WORDS[mode] for mode in terms.modes)}.",
        f"Studies are sealed to curator {curator.name} and nobody else.",
        f"The curator's signing key is {curator.fingerprint}, its recipient {short_digest(curator.recipient)}.",
        f"The coordinator signs with the key {terms.coordinator_fingerprint}.",
        _protocol(terms),
        f"What is published is under {terms.licence}.",
        *([f"The ethics reference is {terms.ethics_reference}."] if terms.ethics_reference else []),
        *([f"The hospital contributed before as SITEID {earlier}."] if earlier else []),
        *([f"It begins on {terms.starts_at:%Y-%m-%d %H:%M} UTC."] if terms.starts_at else []),
        _end(terms.expires_at),
        f"The digest of its text is {terms.text_sha256[:16]}….",
    )
