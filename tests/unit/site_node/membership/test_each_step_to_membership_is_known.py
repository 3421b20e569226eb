"""A home knows how far it is on its way to membership, and what its own tokens were used for."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.crypto.signing import SigningKey
from shared.errors.trust import CertificateForeign, SignatureInvalid, TokenUsed
from shared.manifest import canonical_json
from shared.signed import Signed
from shared.token import Token, TokenKind
from site_node.home.folder import SiteHome, init_home
from site_node.membership import renewal
from site_node.membership.agreement import sign_agreement, signed_before
from site_node.membership.enrolment import enrol
from site_node.membership.invitation import read_agreement
from site_node.membership.record import IdentityFiles, load_membership
from site_node.membership.renewal import enrolled_before
from site_node.membership.step import LocalState, step_of
from tests.factories.federation import Federation, running_federation

NAME = "Stepwise Hospital"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


def test_a_home_is_at_one_step_after_the_other(
    federation: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is told from its files; only what this home signed is its consent, and a used token is known as its own."""
    home, token = init_home(tmp_path / "home", name=NAME), federation.invite(NAME)
    federation.draft(NAME)

    def standing() -> tuple[LocalState, str]:
        step = step_of(home)
        return step.state, step.next.split()[1]  # "the hospital", "the coordinator", "nothing, it"

    assert standing() == (LocalState.UNKNOWN, "coordinator")
    for early in (signed_before, enrolled_before):
        with pytest.raises(TokenUsed):
            early(home)
    offered, files = read_agreement(home, token), IdentityFiles(home)
    root = Token.parse(token, kind=TokenKind.INVITATION).root_pem
    assert (files.root.read_text(), files.text.read_text()) == (root, offered.text)
    assert home.identity.stat().st_mode & 0o777 == 0o700
    assert standing() == (LocalState.READ, "hospital")
    read_agreement(home, token)
    terms = sign_agreement(home, token, signatory="A. Signatory, Director")
    assert standing() == (LocalState.SIGNED, "coordinator")
    consent = signed_before(home)
    assert (consent.terms, step_of(home).since) == (terms, consent.signed_at)
    foreign = SiteHome(tmp_path / "foreign")
    shutil.copytree(home.folder, foreign.folder)
    IdentityFiles(foreign).consent.write_bytes(canonical_json(Signed.by(SigningKey.generate(), consent)))
    for reading in (step_of, signed_before):
        with pytest.raises(SignatureInvalid):
            reading(foreign)
    membership = enrol(home, federation.execute(NAME))
    assert step_of(home).state is LocalState.ENROLLED
    assert (step_of(home).since, standing()[1]) == (None, "it")
    assert enrolled_before(home) == load_membership(home) == membership

    def revoked(_: object) -> None:
        raise CertificateForeign(peer="this site")

    monkeypatch.setattr(renewal, "standing", revoked)
    with pytest.raises(TokenUsed):
        enrolled_before(home)
