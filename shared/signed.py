"""A document as the very bytes that were signed: nothing is rebuilt before it is verified."""

import hashlib
from typing import Self, TypeVar

from pydantic import ValidationError

from shared.crypto.signing import SigningKey, VerifyKey
from shared.errors.trust import SignatureInvalid
from shared.frozen import Frozen
from shared.ids import Sha256
from shared.manifest import Manifest, SignedManifest, canonical_json

Document = TypeVar("Document", bound=Frozen)


class Signed(Frozen):
    """Canonical JSON text and an Ed25519 signature (base64) over its UTF-8 bytes."""

    document: str
    signature: str

    @classmethod
    def by(cls, key: SigningKey, document: Frozen) -> Self:
        """Sign `document`, whose `format` field says what it is."""
        data = canonical_json(document)
        return cls(document=data.decode(), signature=key.sign(data))

    @property
    def digest(self) -> Sha256:
        """SHA-256 of the document's bytes."""
        return Sha256(hashlib.sha256(self.document.encode()).hexdigest())

    def verified(self, key: VerifyKey, kind: type[Document], *, what: str) -> Document:
        """The document, once its signature is `key`'s and its text is the canonical form of a `kind`.

        Raises `SignatureInvalid` naming `what`.
        """
        key.verify(self.document.encode(), self.signature, what=what)
        return self.unsafe_parsed(kind, what=what)

    def unsafe_parsed(self, kind: type[Document], *, what: str) -> Document:
        """The document, unverified: only to learn whose key must verify it. Raises `SignatureInvalid`."""
        try:
            document = kind.model_validate_json(self.document)
        except ValidationError as error:
            raise SignatureInvalid("document does not parse", what=what) from error
        if canonical_json(document) != self.document.encode():
            raise SignatureInvalid("document is not canonical", what=what)
        return document


def of_manifest(manifest: SignedManifest) -> Signed:
    """A signed manifest as it travels."""
    return Signed(document=canonical_json(manifest.manifest).decode(), signature=manifest.signature)


def to_manifest(signed: Signed) -> SignedManifest:
    """The manifest that travelled, not yet verified; raises `SignatureInvalid` when the document is not a manifest."""
    manifest = signed.unsafe_parsed(Manifest, what="the manifest")
    return SignedManifest(manifest=manifest, signature=signed.signature)
