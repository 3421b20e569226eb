"""What holds of ciphertext wherever it is kept: in a folder, or in a bucket of S3."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from secrets import token_bytes
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.store.bucket import PART, CiphertextBucket
from coordinator.store.bucket_files import BucketFiles
from coordinator.store.ciphertext import ACKNOWLEDGE_EVERY, CiphertextStore
from coordinator.store.folder import CiphertextFolder
from coordinator.store.locks import FileLocks
from coordinator.store.s3 import s3_client
from shared.errors.transport import StoreUnreachable, UploadInterrupted
from shared.ids import Sha256
from shared.wire import UNACKNOWLEDGED
from tests.factories.ciphertexts import (
    BUCKET,
    CHUNK,
    bucket_client,
    chunks,
    contents,
    final_names,
    open_ciphertexts,
    partial_names,
    s3_server,
)
from tests.factories.ports import free_ports

Another = Callable[[CiphertextStore], CiphertextStore]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with s3_server(least_part=CHUNK) as endpoint:
        yield bucket_client(endpoint, tmp_path_factory.mktemp("credentials"))


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.slow)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ciphertexts(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> CiphertextStore:
    client = request.getfixturevalue("client") if kind == "bucket" else None
    return open_ciphertexts(kind, tmp_path, client)


def another(ciphertexts: CiphertextStore) -> CiphertextStore:
    """The same place as another process sees it."""
    if isinstance(ciphertexts, CiphertextFolder):
        return CiphertextFolder(ciphertexts._partial.parent)
    assert isinstance(ciphertexts, CiphertextBucket)
    return CiphertextBucket(
        ciphertexts._client, BUCKET, ciphertexts._prefix, ciphertexts._locks, part_size=ciphertexts._part_size
    )


def digest_of(data: bytes) -> Sha256:
    return Sha256(hashlib.sha256(data).hexdigest())


def write(ciphertexts: CiphertextStore, name: Sha256, data: bytes) -> list[int]:
    """What is acknowledged while `data` come in after what is there."""
    with ciphertexts.open_partial(name) as partial:
        return list(partial.write(chunks(data)))


def finish(ciphertexts: CiphertextStore, name: Sha256, data: bytes) -> bool:
    """Send what is not there of `data` and make it final."""
    with ciphertexts.open_partial(name) as partial:
        list(partial.write(chunks(data, partial.size)))
        return partial.finalise(digest_of(data))


class TestEveryPlace:
    """The promises of `CiphertextStore`."""

    @settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(size=st.integers(1, 5 * CHUNK), breaks=st.lists(st.integers(0, 5 * CHUNK), max_size=3), start=st.integers(0))
    def test_what_was_acknowledged_survives(
        self, ciphertexts: CiphertextStore, size: int, breaks: list[int], start: int
    ) -> None:
        """Broken off anywhere, any process goes on where the durable bytes end; the whole is what was sent."""
        data, name = token_bytes(size), digest_of(token_bytes(9))
        for end in sorted(breaks):
            place = another(ciphertexts)
            before = place.durable(name)
            acknowledged = write(place, name, data[before:end])
            durable = another(ciphertexts).durable(name)
            assert max(acknowledged, default=0) <= durable
            assert min(end, size) - CHUNK < durable <= max(before, min(end, size))
        assert not ciphertexts.is_final(name)
        assert finish(another(ciphertexts), name, data)
        assert another(ciphertexts).is_final(name)
        assert another(ciphertexts).durable(name) == size
        assert b"".join(another(ciphertexts).read(name)) == data
        assert b"".join(ciphertexts.read(name, start % (size + 1))) == data[start % (size + 1) :]
        assert partial_names(ciphertexts) == []

    def test_no_sender_waits_for_ever(self, kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        """As bytes come in, more are durable long before a site has so many under way that it waits."""
        client = request.getfixturevalue("client") if kind == "bucket" else None
        ciphertexts = open_ciphertexts(kind, tmp_path, client, part_size=PART)
        acknowledged = [0, *write(ciphertexts, digest_of(b""), bytes(4 * UNACKNOWLEDGED))]
        assert max(after - before for before, after in pairwise(acknowledged)) <= PART < UNACKNOWLEDGED

    @pytest.mark.parametrize("size", [9, 3 * CHUNK, 3 * CHUNK + 9])
    @pytest.mark.parametrize("broken_off", [False, True])
    def test_of_other_bytes_nothing_stays(self, ciphertexts: CiphertextStore, size: int, *, broken_off: bool) -> None:
        """A digest that is not theirs is noticed in one stream and after a resumption."""
        data, name = token_bytes(size), digest_of(b"other")
        if broken_off:
            write(ciphertexts, name, data[: 2 * CHUNK])
        with ciphertexts.open_partial(name) as partial:
            list(partial.write(chunks(data, partial.size)))
            assert partial.size == size
            assert not partial.finalise(digest_of(b"others"))
        assert contents(ciphertexts) == []
        assert ciphertexts.durable(name) == 0

    @pytest.mark.parametrize("size", [9, 2 * CHUNK])
    def test_a_name_has_one_writer(self, ciphertexts: CiphertextStore, size: int) -> None:
        """From the opening to the end of its block, also while it is made final; no other deletes it meanwhile."""
        data, name = token_bytes(size), digest_of(b"shared")

        def refused() -> None:
            with pytest.raises(UploadInterrupted), another(ciphertexts).open_partial(name):
                pass
            assert not another(ciphertexts).delete(name)

        with ciphertexts.open_partial(name) as partial:
            refused()
            list(partial.write(chunks(data)))
            refused()
            assert partial.finalise(digest_of(data))
            refused()
        assert contents(ciphertexts) == [data]

    def test_a_final_ciphertext_can_be_made_final_again(self, ciphertexts: CiphertextStore) -> None:
        """Its row was never written: the next writer finds it whole, and it stays what it is."""
        data, name = token_bytes(2 * CHUNK + 9), digest_of(b"again")
        assert finish(ciphertexts, name, data)
        with another(ciphertexts).open_partial(name) as partial:
            assert partial.size == len(data)
            list(partial.write([]))
            assert partial.finalise(digest_of(data))
        assert contents(ciphertexts) == [data]

    @pytest.mark.parametrize("size", [0, 9, 2 * CHUNK + 9])
    @pytest.mark.parametrize("final", [False, True])
    def test_what_is_deleted_can_come_again(self, ciphertexts: CiphertextStore, size: int, *, final: bool) -> None:
        """Final, unfinished or never there; and what its writer discards."""
        data, name = token_bytes(size), digest_of(b"deleted")
        if final:
            finish(ciphertexts, name, data)
        elif size:
            write(ciphertexts, name, data)
        assert another(ciphertexts).delete(name)
        assert ciphertexts.durable(name) == 0
        assert (final_names(ciphertexts), partial_names(ciphertexts)) == ([], [])
        with ciphertexts.open_partial(name) as partial:
            list(partial.write(chunks(token_bytes(3 * CHUNK))))
            partial.discard()
        assert (final_names(ciphertexts), partial_names(ciphertexts)) == ([], [])
        assert finish(ciphertexts, name, b"other bytes")


def test_a_file_in_a_bucket_is_replaced_whole(client: Any, tmp_path: Path) -> None:
    """What runs keep there; a name without a file writes nothing."""
    files, file = BucketFiles(client, BUCKET, "runs/"), tmp_path / "file"
    assert not files.fetch("R-1/metrics.json", file)
    assert not file.exists()
    for data in (b"first", b"second"):
        file.write_bytes(data)
        files.keep("R-1/metrics.json", file)
    file.unlink()
    assert files.fetch("R-1/metrics.json", file)
    assert file.read_bytes() == b"second"


def test_folders_of_ciphertext_are_their_owners_alone(tmp_path: Path) -> None:
    """Each of them, so that nobody else sees when or how much a hospital sends."""
    place = CiphertextFolder(tmp_path / "store")
    folders = [place._partial, *(place._sealed / f"{first:02x}" for first in range(256))]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_no_byte_is_acknowledged_before_it_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a file made final before: a power cut takes nothing that a site was told of."""
    synced = list[int]()
    monkeypatch.setattr(os, "fdatasync", lambda handle: synced.append(os.fstat(handle).st_size))
    place, data = CiphertextFolder(tmp_path), token_bytes(2 * ACKNOWLEDGE_EVERY + 1)
    with place.open_partial(digest_of(data)) as partial:
        for acknowledged in partial.write(chunks(data)):
            assert acknowledged == synced[-1]
        assert partial.finalise(digest_of(data))
    assert synced[-1] == len(data)


def test_an_absent_bucket_is_named(client: Any, tmp_path: Path) -> None:
    """When the coordinator starts, not at the first study; and for every file in it."""
    with pytest.raises(StoreUnreachable, match=r"store\.sealed"):
        BucketFiles(client, "absent-bucket", "").fetch("R-1/metrics.json", tmp_path / "file")
    with pytest.raises(StoreUnreachable, match=r"store\.sealed"):
        CiphertextBucket(client, "absent-bucket", "", FileLocks(tmp_path / "locks")).check()


def test_a_bucket_that_does_not_answer_is_named(tmp_path: Path) -> None:
    """Whatever is asked of it, nothing is a defect."""
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    [port] = free_ports(1)
    away = s3_client(endpoint=f"http://127.0.0.1:{port}", credentials=tmp_path / "credentials")
    place, name = CiphertextBucket(away, BUCKET, "", FileLocks(tmp_path / "locks")), digest_of(b"away")
    for ask in (place.check, lambda: place.durable(name), lambda: list(place.read(name)), lambda: place.delete(name)):
        with pytest.raises(StoreUnreachable):
            ask()
