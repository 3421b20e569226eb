"""A fetch that was cut goes on where it ended, in the same process or another; the whole is verified."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.curation.fetching import fetching
from coordinator.curation.keys import load_curator_keys
from coordinator.curation.membership import CuratorHome
from coordinator.submission.service import FetchedStudy, SubmissionService
from shared.errors.studies import SealedFileInvalid
from shared.errors.transport import StoreUnreachable
from shared.protocol.loader import load_protocol
from site_node.submit.client import submitting
from tests.factories.federation import running_federation, sealed_study

pytestmark = pytest.mark.slow

PART = 256  # bytes


class Cutting:
    """Cuts fetches after so many pieces each, in turn, and none after these; notes where each began."""

    def __init__(self, patch: pytest.MonkeyPatch, *pieces: int) -> None:
        self._pieces = iter(pieces)
        self.offsets: list[int] = []
        whole = SubmissionService.fetch

        def fetch(
            service: SubmissionService, curator: str, reference: str, offset: int = 0
        ) -> tuple[FetchedStudy, Iterator[bytes]]:
            self.offsets.append(offset)
            fetched, chunks = whole(service, curator, reference, offset)
            return fetched, self._cut(b"".join(chunks))

        patch.setattr(SubmissionService, "fetch", fetch)

    def _cut(self, data: bytes) -> Iterator[bytes]:
        most = next(self._pieces, len(data))
        for number, at in enumerate(range(0, len(data), PART)):
            if number == most:
                raise StoreUnreachable(kind="of the test")
            yield data[at : at + PART]


@pytest.fixture
def curator(tmp_path: Path) -> Iterator[tuple[CuratorHome, str, int]]:
    """A curator, a submission sealed to it, and the size of its ciphertext."""
    with running_federation(tmp_path) as federation:
        home = federation.curator()
        site, member = federation.site("Cut Hospital")
        sealed = sealed_study(site, member)
        with submitting(site, member) as submit:
            submit(sealed)
        yield home, sealed.manifest.manifest.submission, sealed.manifest.manifest.ciphertext_size


def open_study(home: CuratorHome, submission: str) -> None:
    with fetching(home, load_curator_keys(home.keys), load_protocol()) as opened:
        opened.open(submission)


def test_it_goes_on_in_the_same_process(curator: tuple[CuratorHome, str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as each try brings more; nothing is fetched twice, and nothing stays beside the study."""
    home, submission, size = curator
    cutting = Cutting(monkeypatch, 2, 2, 2)
    assert size > 7 * PART
    open_study(home, submission)
    assert cutting.offsets == [0, 2 * PART, 4 * PART, 6 * PART]
    assert len(list(home.opened.glob("*/*"))) == 1
    assert not list(home.fetching.iterdir())


def test_it_goes_on_in_another_process(curator: tuple[CuratorHome, str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A try that brings nothing ends the command; what came is kept, and the next one goes on."""
    home, submission, _ = curator
    cutting = Cutting(monkeypatch, 2, 0)
    with pytest.raises(StoreUnreachable):
        open_study(home, submission)
    open_study(home, submission)
    assert cutting.offsets == [0, 2 * PART, 2 * PART]


def test_what_is_damaged_is_fetched_anew(
    curator: tuple[CuratorHome, str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part whose bytes are not those that were sent fails the whole, and does not stay."""
    home, submission, size = curator
    with monkeypatch.context() as patch:
        patch.setattr("coordinator.curation.fetching.open_sealed", refuse_to_open)
        with pytest.raises(StoreUnreachable):
            open_study(home, submission)
    (part,) = home.fetching.iterdir()
    assert part.stat().st_size == size
    part.write_bytes(b"x" * (size - 1))
    with pytest.raises(SealedFileInvalid):
        open_study(home, submission)
    assert not list(home.fetching.iterdir())
    open_study(home, submission)


def refuse_to_open(*_: object, **__: object) -> None:
    raise StoreUnreachable(kind="of the test")
