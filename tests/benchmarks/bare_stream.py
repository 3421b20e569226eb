"""`python -m tests.benchmarks.bare_stream HOME FOLDER`: a grpcio server that takes streams, hashes, writes, fdatasyncs.

The floor of an upload: the same TLS and the same sync, and nothing that has to be right. It prints its port.
"""

import hashlib
import os
import secrets
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from coordinator.home.settings import Home

METHOD = "/bare.Stream/Put"


def main(home: Home, folder: Path) -> None:
    """Serve until standard input ends."""
    server = grpc.server(ThreadPoolExecutor(16))
    handler: Any = grpc.stream_unary_rpc_method_handler(lambda parts, _context: _put(parts, folder))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare.Stream", {"Put": handler}),))
    pair = (home.server_key.read_bytes(), home.server_certificate.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], home.root.read_bytes(), require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.start()
    sys.stdin.read()
    server.stop(None)


def put(channel: grpc.Channel, data: Iterator[bytes]) -> bytes:
    """Send one file; the answer is its digest."""
    stub: Any = channel.stream_unary(METHOD)
    digest: bytes = stub(data)
    return digest


def _put(parts: Iterator[bytes], folder: Path) -> bytes:
    digest = hashlib.sha256()
    with (folder / secrets.token_hex(16)).open("wb") as file:
        for part in parts:
            digest.update(part)
            file.write(part)
        file.flush()
        os.fdatasync(file.fileno())
    return digest.digest()


if __name__ == "__main__":
    main(Home(Path(sys.argv[1])), Path(sys.argv[2]))
