"""However long the terms are, a list of agreements can be read."""

import pytest

from coordinator.agreements.drafting import Draft
from coordinator.agreements.service import PAGE
from coordinator.agreements.servicer import agreement_message
from coordinator.store.records import Agreement, Amendment
from shared.agreement import AgreementTerms, Consent, CuratorKeys, Mode, State
from shared.crypto.recipients import generate_identity
from shared.crypto.signing import SigningKey
from shared.editions import EditionRange
from shared.enrolment import Enrolment
from shared.ids import AgreementId, Sha256, SiteId
from shared.manifest import canonical_json
from shared.modalities import MODALITIES
from shared.signed import Signed
from tests.factories.rows import AGREEMENT, NOW

MESSAGE = 4 << 20  # bytes; the most that gRPC receives unless it is told otherwise


@pytest.mark.parametrize("letter", ["x", "\N{GRINNING FACE}", "\x01", '"'])
def test_a_page_at_every_bound_fits(letter: str) -> None:
    """Whatever a letter costs in UTF-8 or JSON, also while every agreement of the page is being amended."""
    key, recipient = SigningKey.generate(), generate_identity().recipient
    digest = Sha256("f" * 64)
    line, phrase = "." + letter * 998 + ".", "." + letter * 98 + "."
    draft = Draft.model_validate(
        {
            "reference": "x",
            "curator": "x",
            "modes": tuple(Mode),
            "scope": {
                "description": "." + letter * 7998 + ".",
                "modalities": sorted(MODALITIES),
                "studies": 2**31 - 1,
                "data_elements": [phrase] * 50,
                "locations": [phrase] * 50,
            },
            "licence": line,
            "ethics_reference": line,
            "earlier_site_ids": [SiteId("123456")] * 100,
            "starts_at": NOW,
            "expires_at": NOW,
        }
    )
    enrolment = Signed.by(key, Enrolment(csr_sha256=digest, token_sha256=digest, recipient=recipient))
    terms = AgreementTerms(
        id=AgreementId(AGREEMENT),
        version=2**31 - 1,
        federation="x" * 63,
        site_name=phrase,
        text_sha256=digest,
        curator=CuratorKeys(
            name="x" * 63,
            recipient=recipient,
            fingerprint=key.fingerprint,
            verify_key=key.public.text,
            statement=enrolment,
        ),
        coordinator_fingerprint=key.fingerprint,
        protocol="x" * 63,
        protocol_digest=digest,
        editions=EditionRange(**dict.fromkeys(("first", "signed", "last"), ".".join(["999999"] * 4))),
        **{name: value for name, value in draft if name not in {"reference", "curator", "editions"}},
    )
    text = canonical_json(terms).decode()
    consent = Signed.by(key, Consent(terms=terms, signatory=line, fingerprint=key.fingerprint, signed_at=NOW))
    agreement = Agreement(
        id=terms.id,
        site_name=phrase,
        state=State.EXECUTED,
        version=terms.version,
        terms=text,
        consent=consent,
        execution=enrolment,
        changed_at=NOW,
        amendment=Amendment(version=terms.version, terms=text, consent=consent),
        attachment=digest,
    )
    assert agreement_message(agreement, {phrase: SiteId("123456")}).ByteSize() * PAGE < MESSAGE - 1000
