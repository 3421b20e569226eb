"""A client of S3, and the names of what it fails with."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.errors.base import RicordError
from shared.errors.storage import DiskFull
from shared.errors.transport import StoreUnreachable, UploadInterrupted

_CONNECTIONS = 64  # as many as calls that may be open
_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "507"})


def s3_client(*, endpoint: str | None, credentials: Path | None) -> Any:
    """A client with the credentials of a file in AWS's format, else of the standard chain of environment and host."""
    session = botocore.session.get_session()
    if credentials is not None:
        session.set_config_variable("credentials_file", str(credentials))
    config = Config(
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=_CONNECTIONS,
        retries={"mode": "standard", "max_attempts": 4},
        request_checksum_calculation="when_required",  # other stores than Amazon's know `Content-MD5` only
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if endpoint else "auto"},
    )
    with naming_failures():
        return boto3.Session(botocore_session=session).client("s3", endpoint_url=endpoint, config=config)


def code_of(error: ClientError) -> str:
    """The code of what went wrong; the HTTP status where an answer has no body."""
    return str(error.response.get("Error", {}).get("Code"))


@contextmanager
def naming_failures() -> Iterator[None]:
    """What fails now and works later gets its name; keys, which are digests, and credentials stay out of every text."""
    try:
        yield
    except BotoCoreError as error:
        raise _unreachable(type(error).__name__) from None
    except ClientError as error:
        code = code_of(error)
        if code in _FULL:
            raise DiskFull(code, folder="the coordinator's bucket of sealed studies") from None
        if code == "NoSuchUpload":  # completed or deleted beside us
            raise UploadInterrupted(code) from None
        raise _unreachable(code) from None


def _unreachable(private: str) -> RicordError:
    return StoreUnreachable(private, kind="bucket of sealed studies", setting="store.sealed")
