"""Where a coordinator keeps ciphertext: a folder, or a bucket of moto's S3 on loopback; and what lies there."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from coordinator.store.bucket import CiphertextBucket
from coordinator.store.ciphertext import CiphertextStore
from coordinator.store.folder import CiphertextFolder
from coordinator.store.locks import FileLocks
from coordinator.store.s3 import s3_client
from shared.ids import Sha256
from tests.factories.ports import free_ports

CHUNK = 1 << 16  # bytes of a piece of an upload, and of a part in the bucket
BUCKET = "sealed-studies"
CREDENTIALS = "[default]\naws_access_key_id = test\naws_secret_access_key = test\nregion = eu-central-1\n"


@contextmanager
def s3_server(*, least_part: int = 5 << 20) -> Iterator[str]:
    """The address of an S3 in a process of its own; every part but the last has `least_part` bytes at least."""
    pytest.importorskip("moto", reason="install moto[server]")
    [port] = free_ports(1)
    command = (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port))
    environment = {**os.environ, "S3_UPLOAD_PART_MIN_SIZE": str(least_part)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


def _wait_for(port: int) -> None:
    latest = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > latest:
                raise
            time.sleep(0.05)
        else:
            return


def bucket_client(endpoint: str, folder: Path) -> Any:
    """A client whose bucket exists; its credentials lie in `folder`."""
    credentials = folder / "credentials"
    credentials.write_text(CREDENTIALS)
    client = s3_client(endpoint=endpoint, credentials=credentials)
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return client


def open_ciphertexts(kind: str, folder: Path, client: Any, *, part_size: int = CHUNK) -> CiphertextStore:
    """A new place of a kind, `folder` or `bucket`; there with parts of `part_size` bytes below the folder's name."""
    if kind == "folder":
        return CiphertextFolder(folder / "ciphertexts")
    locks = FileLocks(folder.with_suffix(".locks"))
    return CiphertextBucket(client, BUCKET, f"{folder.name}/", locks, part_size=part_size)


def chunks(data: bytes, start: int = 0) -> list[bytes]:
    """`data` from `start` on, in pieces."""
    return [data[at : at + CHUNK] for at in range(start, len(data), CHUNK)]


def final_names(ciphertexts: CiphertextStore) -> list[Sha256]:
    """The names of the whole ciphertexts."""
    if isinstance(ciphertexts, CiphertextFolder):
        return sorted(Sha256(path.stem) for path in ciphertexts._sealed.rglob("*.age"))
    assert isinstance(ciphertexts, CiphertextBucket)
    listed = ciphertexts._client.list_objects_v2(Bucket=BUCKET, Prefix=ciphertexts._prefix).get("Contents", ())
    return sorted(Sha256(Path(entry["Key"]).stem) for entry in listed)


def partial_names(ciphertexts: CiphertextStore) -> list[Sha256]:
    """The names of those of which a part arrived."""
    if isinstance(ciphertexts, CiphertextFolder):
        return sorted(Sha256(path.name) for path in ciphertexts._partial.iterdir())
    assert isinstance(ciphertexts, CiphertextBucket)
    listed = ciphertexts._client.list_multipart_uploads(Bucket=BUCKET, Prefix=ciphertexts._prefix).get("Uploads", ())
    return sorted(Sha256(Path(upload["Key"]).stem) for upload in listed)


def contents(ciphertexts: CiphertextStore) -> list[bytes]:
    """Every whole ciphertext; fails when there is a part of another."""
    assert partial_names(ciphertexts) == []
    return sorted(b"".join(ciphertexts.read(name)) for name in final_names(ciphertexts))
