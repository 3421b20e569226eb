"""Sealing beside the raw cipher over the same bytes, on memory-backed storage: as age alone, and as the whole stage.

The stage also reads, hashes twice, packs and compresses.
"""

import io
import secrets
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from shared.crypto.payload import CHUNK_BYTES, nonce
from shared.crypto.sealing import encrypt, generate_identity
from site_node.study import Validated
from tests.benchmarks.alone import study_of, work
from tests.benchmarks.archives import workspace, write_ct
from tests.benchmarks.measure import Row, medians
from tests.factories.validated import make_sealed

_SIZE, _SLICES, _ROUNDS = 256 << 20, 400, 5
_PROMISED = 0.6  # of the cipher's rate


def rows() -> list[Row]:
    """Megabytes a second."""
    with workspace() as folder:
        validated = work(study_of(write_ct(_made(folder / "source"), _SLICES)), folder / "out", validated=True)
        assert isinstance(validated, Validated)
        size = sum(instance.size for instance in validated.study.instances)
        data, recipient = secrets.token_bytes(_SIZE), generate_identity().recipient
        seconds = medians(
            {
                "cipher": lambda: _cipher(data, folder),
                "age": lambda: _age(data, recipient, folder),
                "stage": lambda: _stage(folder, validated),
            },
            rounds=_ROUNDS,
        )
    rates = {name: (size if name == "stage" else _SIZE) / each / 1e6 for name, each in seconds.items()}
    floor = "raw ChaCha20-Poly1305"
    return [
        Row("age encryption", rates["age"], "MB/s", floor, rates["age"] / rates["cipher"], _PROMISED),
        Row(
            f"sealing of {_SLICES} CT slices",
            rates["stage"],
            "MB/s",
            floor,
            rates["stage"] / rates["cipher"],
            _PROMISED,
        ),
    ]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _cipher(data: bytes, folder: Path) -> None:
    """The same chunks, encrypted and written."""
    aead = ChaCha20Poly1305(ChaCha20Poly1305.generate_key())
    with (folder / "raw").open("wb") as file:
        for number, start in enumerate(range(0, len(data), CHUNK_BYTES)):
            file.write(aead.encrypt(nonce(number, last=False), data[start : start + CHUNK_BYTES], None))


def _age(data: bytes, recipient: str, folder: Path) -> None:
    with (folder / "sealed").open("wb") as file:
        encrypt([recipient], io.BytesIO(data), file)


def _stage(folder: Path, validated: Validated) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as outbox:  # a new one: what lies sealed is not sealed again
        make_sealed(Path(outbox), validated)
