"""Files in a bucket by their names: what every coordinator of a federation must reach, and is small."""

from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from coordinator.store.s3 import code_of, naming_failures
from shared.durable import write_whole


class BucketFiles:
    """Objects below a prefix. Each fits into memory: a model's weights are the largest."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def keep(self, name: str, file: Path) -> None:
        """One request, so the object is whole. Raises `StoreUnreachable`, `DiskFull`."""
        with naming_failures():
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=file.read_bytes())

    def fetch(self, name: str, file: Path) -> bool:
        """Raises `StoreUnreachable`, `DiskFull`."""
        with naming_failures():
            try:
                data = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"].read()
            except ClientError as error:
                if code_of(error) == "NoSuchKey":
                    return False
                raise
        write_whole(file, data)
        return True
