"""The versions of an agreement, and how the terms of each differ from those before."""

import difflib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from shared.agreement import AgreementTerms
from shared.agreement_page import terms_page
from shared.proto.ricord.v1 import agreement_pb2 as pb
from shared.proto.ricord.v1.signed_pb2 import SignedDocument

_HEADING = 2  # lines of a page


class Version(NamedTuple):
    """A version of an agreement. `changes` are the lines of its page that came (`+`) and went (`-`)."""

    number: int
    signatory: str
    signed_on: str
    executed_on: str
    changes: tuple[str, ...]


def versions_of(answer: pb.GetAgreementResponse) -> tuple[Version, ...]:
    """Every version, the latest first: what is offered, what is in force, what was replaced."""
    listed, before = list[Version](), ""
    for document, consent, execution in _documents(answer):
        terms = AgreementTerms.model_validate_json(document)
        page = terms_page(terms)
        signed, executed = _parsed(consent), _parsed(execution)
        listed.append(
            Version(
                number=terms.version,
                signatory=str(signed.get("signatory", "")),
                signed_on=str(signed.get("signed_at", ""))[:10],
                executed_on=str(executed.get("executed_at", ""))[:10],
                changes=tuple(_changes(before, page)) if before else (),
            )
        )
        before = page
    return tuple(reversed(listed))


def _documents(answer: pb.GetAgreementResponse) -> Iterator[tuple[bytes, SignedDocument, SignedDocument]]:
    """Terms, consent and countersignature of each version, the oldest first; empty where it has none yet."""
    for former in answer.versions:
        yield former.terms, former.consent, former.execution
    agreement = answer.agreement
    if agreement.terms:
        yield agreement.terms, agreement.consent, agreement.execution
    if agreement.amendment_terms:
        yield agreement.amendment_terms, agreement.amendment_consent, SignedDocument()


def _changes(before: str, after: str) -> Iterator[str]:
    """The lines that differ, without the headings."""
    old, new = (page.splitlines()[_HEADING:] for page in (before, after))
    yield from (line for line in difflib.ndiff(old, new) if line.startswith(("+ ", "- ")))


def _parsed(signed: SignedDocument) -> dict[str, Any]:
    """What a signed document says; the coordinator that shows it has verified it."""
    return dict(json.loads(signed.document)) if signed.document else {}
