import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.crypto.signing import SigningKey, VerifyKey
from shared.errors.inputs import InvalidIdentifier
from shared.errors.trust import SignatureInvalid


def test_a_signature_fits_only_its_data_and_its_key() -> None:
    key, other = SigningKey.generate(), SigningKey.generate()
    signature = key.sign(b"text")
    key.public.verify(b"text", signature)
    for data, verifier in ((b"texT", key.public), (b"text", other.public), (b"", key.public)):
        with pytest.raises(SignatureInvalid, match="the receipt"):
            verifier.verify(data, signature, what="the receipt")


@pytest.mark.parametrize("signature", ["", "AAAA", "not base64!", "A" * 88, "é"])
def test_text_that_is_no_signature_is_refused(signature: str) -> None:
    with pytest.raises(SignatureInvalid):
        SigningKey.generate().public.verify(b"text", signature)


def test_a_signature_has_one_text_only() -> None:
    """Base64's unused bits carry no second spelling of a signature."""
    key = SigningKey.generate()
    signature = key.sign(b"text")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = signature[:85] + alphabet[alphabet.index(signature[85]) ^ 1] + signature[86:]
    assert base64.b64decode(twin) == base64.b64decode(signature)
    for other in (twin, f"{signature}\n", f" {signature}", signature[:40] + "\n" + signature[40:], f"{signature}AAAA"):
        with pytest.raises(SignatureInvalid):
            key.public.verify(b"text", other)


def test_a_public_key_survives_its_text_form() -> None:
    key = SigningKey.generate()
    assert VerifyKey.parse(str(key.public)) == key.public
    assert key.fingerprint == VerifyKey.parse(key.public.text).fingerprint
    assert len(key.fingerprint) == len("SHA256:") + 43


@pytest.mark.parametrize("form", ["{} hospital", "{} ", "{}\n", " {}", "from=x {}"])
def test_a_public_key_has_one_text_only(form: str) -> None:
    """So two are equal when their text is; a comment or a space makes another."""
    with pytest.raises(InvalidIdentifier):
        VerifyKey.parse(form.format(SigningKey.generate().public.text))


def test_a_public_key_of_another_kind_is_refused() -> None:
    """Though its line be as OpenSSH writes it."""
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(InvalidIdentifier):
        VerifyKey.parse(public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode())


def test_the_fingerprint_is_the_one_openssh_shows() -> None:
    """The line and its fingerprint as `ssh-keygen -l` printed them (OpenSSH 9.2)."""
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
    assert VerifyKey.parse(line).fingerprint == "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA"


@pytest.mark.parametrize(
    "text", ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa AAAA", "x", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== c"]
)
def test_text_that_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidIdentifier):
        VerifyKey.parse(text)


def test_a_private_key_shows_nothing_of_itself() -> None:
    key = SigningKey.generate()
    assert repr(key) == f"SigningKey({key.fingerprint})"
