"""Names derived from the site's secret that need no SITEID, so that a site has them before it is enrolled.

HKDF-SHA-256 derives one key per purpose from the site secret, and HMAC-SHA-256 under that key does the rest: a
list of hospital numbers is no help without the secret (the 2020 protocol's unkeyed MD5 could be recomputed from one).
"""

import hashlib
import hmac

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.errors.settings import KeyFileInvalid
from shared.ids import StudyKey
from site_node.pseudonyms.sealed_link import Link, LinkSeal, Seal
from site_node.study import Identity

SECRET_BYTES = 32
PADDING = " \0"  # what DICOM pads text and UIDs with (PS3.5 section 6.2)
_LABELS = ("uid", "date", "patient", "accession", "ledger", "study", "word")
_WORD_TOKEN = 16  # bytes


class KeyedNames:
    """The names of studies and the tokens of patients. Deterministic, and safe to share between threads.

    Raises `KeyFileInvalid` unless `secret` is 32 bytes, which are random and never leave the site.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_BYTES:
            raise KeyFileInvalid(file="the pseudonym key", kind="secret of exactly 32 bytes")
        self._keys = {label: _derive(secret, label) for label in _LABELS}
        self.links = LinkSeal(_derive(secret, "ledger/link"))
        self.words = Seal(_derive(secret, "ledger/word"))
        self.file_seed = _derive(secret, "ledger/file")  # of the age identity that linkage files are sealed to

    def study_key(self, study_uid: str) -> StudyKey:
        """The site's own opaque name for a study, safe in logs and file names."""
        return StudyKey(self._mac("study", study_uid.strip(PADDING).encode())[:16].hex())

    def token(self, identity: Identity) -> bytes:
        """The ledger's key for a patient: 32 bytes that only the secret's holder can compute."""
        return self._mac("ledger", message_of(identity))

    def word_token(self, word: str) -> bytes:
        """The ledger's key for a word, or for a form of a name."""
        return self._mac("word", word.encode(errors="surrogatepass"))[:_WORD_TOKEN]

    def bearer_token(self, word: bytes, identity: Identity) -> bytes:
        """The ledger's key for a patient among those of one word: no two words of a patient can be joined by it."""
        return self._mac("word", word + self.token(identity))[:_WORD_TOKEN]

    def _mac(self, label: str, message: bytes) -> bytes:
        return hmac.digest(self._keys[label], message, hashlib.sha256)


def link_of(identity: Identity) -> Link:
    """The identifiers behind a patient's number, as the images have them, without padding."""
    return Link(issuer=identity.issuer.strip(PADDING), patient_id=identity.patient_id.strip(PADDING))


def message_of(identity: Identity) -> bytes:
    """Issuer and number with the issuer's length in front, so that no two pairs read alike."""
    issuer = identity.issuer.strip(PADDING).encode()
    return len(issuer).to_bytes(4, "big") + issuer + identity.patient_id.strip(PADDING).encode()


def _derive(secret: bytes, label: str) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"ricord-federation/pseudonyms/1/" + label.encode()).derive(secret)
