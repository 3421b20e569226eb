"""The operator's way to the coordinator: every command but `init` and `serve` is an RPC with the operator's role."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from coordinator.home.settings import Home
from shared.errors.settings import KeyFileMissing
from shared.wire import Credentials, connected


@contextmanager
def operator_channel(home: Home) -> Iterator[grpc.Channel]:
    """A channel to the main port as the operator of `home`; raises what `connected` raises."""
    settings = home.settings()
    for file in (home.root, home.operator_certificate):
        if not file.exists():
            raise KeyFileMissing(file=str(file))
    credentials = Credentials(home.root.read_bytes(), home.operator_key, home.operator_certificate)
    with connected(settings.addresses.main, credentials) as channel:
        yield channel
