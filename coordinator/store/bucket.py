"""Ciphertext in a bucket of S3, or of another store that speaks its protocol.

`<prefix><first two digits>/<name>.age` is final. Until then a ciphertext is a multipart upload of that key, in parts of
5 MiB, the least that S3 takes; a process that ends loses the last bytes that are no part yet, and any process goes on
after the listed parts.
S3 hands out no part before an upload is completed, and a running digest does not outlive its process. So what came in
one stream is checked by the digest of that stream, and what was resumed by reading the completed object once.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

from botocore.exceptions import ClientError

from coordinator.store.ciphertext import CHUNK
from coordinator.store.locks import Locks
from coordinator.store.s3 import code_of, naming_failures
from shared.errors.transport import UploadInterrupted
from shared.ids import Sha256

PART = 5 << 20  # bytes; S3 refuses fewer, the last part apart, and more than 10,000 parts


class CiphertextBucket:
    """A `CiphertextStore` in a bucket. S3 locks nothing, so `locks` of all who write there keep writers apart."""

    def __init__(self, client: Any, bucket: str, prefix: str, locks: Locks, *, part_size: int = PART) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._locks = locks
        self._part_size = part_size  # bytes

    def check(self) -> None:
        """Raise `StoreUnreachable` when the bucket is not there or not ours."""
        with naming_failures():
            self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=self._prefix, MaxUploads=1)

    def durable(self, name: Sha256) -> int:
        """The size of the parts, or of the object."""
        with naming_failures():
            return self._object(name).durable

    def arrived(self, name: Sha256) -> int:
        """What is durable: parts."""
        return self.durable(name)

    @contextmanager
    def open_partial(self, name: Sha256) -> Iterator["PartialObject"]:
        """Hold the lock of the name."""
        with self._holding(name) as held, naming_failures():
            if not held:
                raise UploadInterrupted("another upload of the same study is under way")
            yield self._object(name)

    def is_final(self, name: Sha256) -> bool:
        """Whether there is an object."""
        with naming_failures():
            return self._object(name).final

    def read(self, name: Sha256, start: int = 0) -> Iterator[bytes]:
        """In pieces of at most 1 MiB."""
        with naming_failures():
            yield from self._object(name).read(start)

    def delete(self, name: Sha256) -> bool:
        """Under the lock."""
        with self._holding(name) as held, naming_failures():
            if held:
                self._object(name).discard()
            return held

    def _holding(self, name: Sha256) -> AbstractContextManager[bool]:
        return self._locks.holding(f"ciphertext {name}")

    def _object(self, name: Sha256) -> "PartialObject":
        key = {"Bucket": self._bucket, "Key": f"{self._prefix}{name[:2]}/{name}.age"}
        return PartialObject(self._client, key, self._part_size)


class PartialObject:
    """What is there of a key: the parts of a multipart upload, else the object that it becomes, else nothing."""

    def __init__(self, client: Any, key: dict[str, str], part_size: int) -> None:
        self._client = client
        self._key = key
        self._part_size = part_size
        self._rest = bytearray()  # less than a part
        listed = client.list_multipart_uploads(Bucket=key["Bucket"], Prefix=key["Key"]).get("Uploads", ())
        self._uploads = [upload["UploadId"] for upload in listed]
        self._parts = self._listed_parts() if self._uploads else []
        final = None if self._uploads else self._final_size()
        self.final = final is not None
        self.durable = final or sum(part["Size"] for part in self._parts)
        self._hash = None if self.final or self._parts else hashlib.sha256()

    @property
    def size(self) -> int:
        """In parts and in memory."""
        return self.durable + len(self._rest)

    def write(self, chunks: Iterable[bytes]) -> Iterator[int]:
        """Send a part whenever one is full."""
        for chunk in chunks:
            self._rest += chunk
            if self._hash is not None:
                self._hash.update(chunk)
            while len(self._rest) >= self._part_size:
                self._send(self._part_size)
                yield self.durable

    def finalise(self, digest: Sha256) -> bool:
        """Complete the object. The stream's digest is compared before, a resumed upload's after."""
        if self._hash is not None and self._hash.hexdigest() != digest:
            self.discard()
            return False
        if not self.final:
            self._complete()
        if self._hash is None and _digest(self.read()) != digest:
            self.discard()
            return False
        return True

    def read(self, start: int = 0) -> Iterator[bytes]:
        """The object's bytes from `start` on."""
        if start and start >= self.durable:  # S3 refuses an empty range
            return
        with closing(self._client.get_object(**self._key, Range=f"bytes={start}-")["Body"]) as body:
            yield from body.iter_chunks(CHUNK)

    def discard(self) -> None:
        """Delete the object and every part."""
        for upload in self._uploads:
            self._client.abort_multipart_upload(**self._key, UploadId=upload)
        self._client.delete_object(**self._key)

    def _send(self, size: int) -> None:
        """Make a part of the first `size` bytes that are no part yet."""
        if not self._uploads:
            self._uploads = [self._client.create_multipart_upload(**self._key)["UploadId"]]
        data, number = bytes(self._rest[:size]), len(self._parts) + 1
        sent = self._client.upload_part(**self._upload, PartNumber=number, **_body(data))
        del self._rest[:size]
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"], "Size": size})
        self.durable += size

    def _complete(self) -> None:
        """Make an object of what arrived. ETags name the very parts that are meant."""
        if not self._uploads:
            self._client.put_object(**self._key, **_body(bytes(self._rest)))
            self.durable += len(self._rest)
            self._rest.clear()
        else:
            if self._rest:
                self._send(len(self._rest))
            parts = [{name: part[name] for name in ("PartNumber", "ETag")} for part in self._parts]
            self._client.complete_multipart_upload(**self._upload, MultipartUpload={"Parts": parts})
            del self._uploads[0]
        self.final = True

    @property
    def _upload(self) -> dict[str, str]:
        return {**self._key, "UploadId": self._uploads[0]}

    def _listed_parts(self) -> list[dict[str, Any]]:
        pages = self._client.get_paginator("list_parts").paginate(**self._upload)
        return [part for page in pages for part in page.get("Parts", ())]

    def _final_size(self) -> int | None:
        try:
            return int(self._client.head_object(**self._key)["ContentLength"])
        except ClientError as error:
            if code_of(error) == "404":
                return None
            raise


def _body(data: bytes) -> dict[str, Any]:
    """Bytes and the digest by which the store refuses damaged ones."""
    return {"Body": data, "ContentMD5": base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()}


def _digest(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
