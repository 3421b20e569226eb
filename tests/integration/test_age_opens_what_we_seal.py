"""What we seal to an X25519 recipient, the `age` program opens, and the other way round."""

import io
import subprocess
from pathlib import Path

import pytest

from shared.crypto.keys import load_identity, make_identity
from shared.crypto.sealing import decrypt, encrypt
from tests.peers import needs_peer

SIZES = (0, 1, 65536, 200_000)


@pytest.mark.parametrize("size", SIZES)
def test_age_opens_what_we_seal(size: int, tmp_path: Path) -> None:
    age = needs_peer("age")
    identity = make_identity(tmp_path / "key", "x25519")
    content = bytes(i % 253 for i in range(size))
    with (tmp_path / "file.age").open("wb") as target:
        encrypt([identity.recipient], io.BytesIO(content), target)
    command = [age, "--decrypt", "-i", str(tmp_path / "key"), str(tmp_path / "file.age")]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == content


@pytest.mark.parametrize("size", SIZES)
def test_we_open_what_age_seals(size: int, tmp_path: Path) -> None:
    age, keygen = needs_peer("age"), needs_peer("age-keygen", "age")
    subprocess.run([keygen, "-o", str(tmp_path / "key")], capture_output=True, check=True)
    identity = load_identity(tmp_path / "key")
    content = bytes(i % 253 for i in range(size))
    done = subprocess.run([age, "-r", identity.recipient], input=content, capture_output=True, check=True)
    target = io.BytesIO()
    decrypt(identity, io.BytesIO(done.stdout), target)
    assert target.getvalue() == content


def test_age_keygen_derives_our_recipient_from_our_key(tmp_path: Path) -> None:
    keygen = needs_peer("age-keygen", "age")
    identity = make_identity(tmp_path / "key", "x25519")
    done = subprocess.run([keygen, "-y", str(tmp_path / "key")], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == identity.recipient
