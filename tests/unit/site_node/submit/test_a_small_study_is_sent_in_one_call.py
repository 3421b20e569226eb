"""A study that goes in one message costs one call; where the coordinator holds a part, nothing is lost or doubled."""

from collections.abc import Iterator

import pytest

from coordinator.home.init import open_ciphertexts, open_home_store
from coordinator.submission.lookup import blob_name
from coordinator.submission.service import SubmissionService
from shared.crypto.keys import load_signing
from shared.crypto.signing import sign_manifest
from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from site_node.submit.client import submitting
from tests.factories.federation import Federation, running_federation, sealed_bytes


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


@pytest.fixture(scope="module")
def member(federation: Federation) -> tuple[SiteHome, Membership]:
    return federation.site("Hospital")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A name for each time that the coordinator was asked how far an upload has come."""
    calls, answer = list[str](), SubmissionService.offset

    def noting(*arguments: object) -> object:
        calls.append("offset")
        return answer(*arguments)  # type: ignore[arg-type] # as they came

    monkeypatch.setattr(SubmissionService, "offset", noting)
    return calls


def test_a_new_one_is_sent_without_asking(member: tuple[SiteHome, Membership], asked: list[str]) -> None:
    """A larger one is asked for, so that what arrived of it is not sent again."""
    with submitting(*member) as submit:
        submit(sealed_bytes(*member, 1000))
        assert not asked
        submit(sealed_bytes(*member, (1 << 20) + 1))
        assert asked == ["offset"]


@pytest.mark.parametrize("size", [1, 999, 1000])
def test_where_a_part_arrived_it_goes_on(
    federation: Federation, member: tuple[SiteHome, Membership], asked: list[str], size: int
) -> None:
    """A kill left `size` of its bytes, or all of them without a row."""
    sealed = sealed_bytes(*member, 1000)
    store = open_home_store(federation.home, federation.settings)
    ciphertexts = open_ciphertexts(federation.home, federation.settings, store.locks)
    with ciphertexts.open_partial(blob_name(sealed.manifest.manifest)) as partial:
        list(partial.write([sealed.ciphertext.read_bytes()[:size]]))
    with submitting(*member) as submit:
        submit(sealed)
    assert asked == ["offset"]
    with store.read() as reading:
        assert reading.submission(sealed.manifest.manifest.submission) is not None
    store.close()


def test_one_that_was_received_before_has_its_receipt(member: tuple[SiteHome, Membership], asked: list[str]) -> None:
    """Also where it was sealed anew since: the receipt is over the ciphertext that came first."""
    site, membership = member
    sealed = sealed_bytes(site, membership, 1000)
    data = sealed.ciphertext.read_bytes()
    with submitting(site, membership) as submit:
        first = submit(sealed)
        kept = first.receipt.read_bytes()
        for manifest in (
            sealed.manifest.manifest,
            sealed_bytes(site, membership, 900).manifest.manifest.model_copy(
                update=sealed.manifest.manifest.model_dump(include={"study", "contents_sha256"})
            ),
        ):
            first.receipt.unlink()
            sealed.ciphertext.write_bytes(data)
            again = sealed.model_copy(update={"manifest": sign_manifest(manifest, load_signing(site.signing_key))})
            assert submit(again).audit_number == first.audit_number
            assert first.receipt.read_bytes() == kept
    assert not asked
