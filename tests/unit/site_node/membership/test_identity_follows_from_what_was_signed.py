"""A site believes nothing in its identity folder that does not follow from what it signed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.agreements import drafting
from shared.agreement import CuratorKeys
from shared.crypto.recipients import generate_identity
from shared.errors.inputs import InvalidArgument
from shared.errors.trust import CertificateForeign, NotEnrolled, SignatureInvalid
from site_node.home.folder import SiteHome, init_home
from site_node.membership.agreement import sign_agreement
from site_node.membership.enrolment import enrol
from site_node.membership.invitation import read_agreement
from site_node.membership.record import load_membership
from tests.factories.federation import Federation, running_federation


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


@pytest.fixture(scope="module")
def enrolled(federation: Federation) -> SiteHome:
    return federation.site("Careful Hospital")[0]


def test_a_new_home_is_nobodys_member(tmp_path: Path) -> None:
    """And says what to do."""
    with pytest.raises(NotEnrolled):
        load_membership(init_home(tmp_path / "home", name="New Hospital"))


@pytest.mark.parametrize("name", ["agreement.json", "membership.json"])
def test_any_changed_digit_is_noticed(enrolled: SiteHome, tmp_path: Path, name: str) -> None:
    """Digits across the files that decide whom to trust, each changed alone; only the addresses are unsigned."""
    home = SiteHome(tmp_path / "home")
    shutil.copytree(enrolled.folder, home.folder)
    member, file = load_membership(home), home.identity / name
    text = file.read_text()
    places = [at for at, character in enumerate(text) if character.isdigit()]
    for at in places[:: max(1, len(places) // 40)]:
        file.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
        try:
            loaded = load_membership(home)
        except SignatureInvalid:
            continue
        assert loaded.model_dump(exclude={"addresses"}) == member.model_dump(exclude={"addresses"})
        assert name == "membership.json"


def test_a_member_is_not_lured_into_another_federation(
    federation: Federation, enrolled: SiteHome, tmp_path: Path
) -> None:
    """Neither its invitation nor its join token is followed, and nothing changes."""
    before = {path: path.read_bytes() for path in enrolled.identity.iterdir()}
    with running_federation(tmp_path) as other:
        other.curator()
        invitation = other.invite("Careful Hospital")
        other.draft("Careful Hospital")
        other.signed_site("Lured Hospital")
        join = other.execute("Lured Hospital")
        with pytest.raises(CertificateForeign):
            read_agreement(enrolled, invitation)
        with pytest.raises(CertificateForeign):
            enrol(enrolled, join)
    assert {path: path.read_bytes() for path in enrolled.identity.iterdir()} == before


def test_a_signatory_has_a_name(federation: Federation, tmp_path: Path) -> None:
    """An empty one is refused before anything is sent; the invitation is still good."""
    home = init_home(tmp_path / "home", name="Nameless Hospital")
    token = federation.invite("Nameless Hospital")
    federation.draft("Nameless Hospital")
    read_agreement(home, token)
    with pytest.raises(InvalidArgument):
        sign_agreement(home, token, signatory="  ")
    sign_agreement(home, token, signatory="F. Signatory, Director")


def test_no_other_recipient_under_the_curators_fingerprint(
    federation: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coordinator that names its own recipient is refused before the draft is kept, and again at enrolment."""
    home, own, honest = init_home(tmp_path / "home", name="Wary Hospital"), generate_identity(), drafting._curator_keys
    monkeypatch.setattr(
        drafting, "_curator_keys", lambda *arguments: honest(*arguments).model_copy(update={"recipient": own.recipient})
    )
    token = federation.invite("Wary Hospital")
    federation.draft("Wary Hospital")
    with pytest.raises(SignatureInvalid):
        read_agreement(home, token)
    assert not home.identity.exists() or not list(home.identity.iterdir())
    with monkeypatch.context() as unwary:
        unwary.setattr(CuratorKeys, "check", lambda _: None)
        read_agreement(home, token)
        sign_agreement(home, token, signatory="F. Signatory, Director")
    with pytest.raises(SignatureInvalid):
        enrol(home, federation.execute("Wary Hospital"))
