"""Passphrases: kept as Argon2id (RFC 9106), and guessed slowly."""

import secrets
import threading
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from shared.errors.console import SignInThrottled
from shared.errors.inputs import InvalidArgument

LEAST, MOST = 12, 200  # characters
_ITERATIONS, _LANES, _MEMORY_KIB = 3, 4, 64 << 10  # RFC 9106, the second recommended option
_FREE_FAILURES, _LONGEST_WAIT = 5, 60.0
_MOST_NAMES = 1000
_BUSY_SECONDS = 5.0
_LOCK = threading.Lock()  # 64 MiB at a time, however many ask


def keep(passphrase: str) -> str:
    """A passphrase as it is kept; raises `InvalidArgument` for one that is too short or too long."""
    if not LEAST <= len(passphrase) <= MOST:
        raise InvalidArgument(name="The passphrase", problem=f"it must have {LEAST} to {MOST} characters")
    kind = Argon2id(
        salt=secrets.token_bytes(16), length=32, iterations=_ITERATIONS, lanes=_LANES, memory_cost=_MEMORY_KIB
    )
    return str(kind.derive_phc_encoded(_bytes(passphrase)))


def is_kept(passphrase: str, kept: str | None) -> bool:
    """Whether a passphrase is the one kept; without one the answer, no, takes as long.

    Raises `SignInThrottled` where too many ask at once.
    """
    if not _LOCK.acquire(timeout=_BUSY_SECONDS):
        raise SignInThrottled(seconds=f"{_BUSY_SECONDS:.0f}")
    try:
        Argon2id.verify_phc_encoded(_bytes(passphrase[:MOST]), kept or _NOBODYS)
    except InvalidKey:
        return False
    finally:
        _LOCK.release()
    return kept is not None


def _bytes(passphrase: str) -> bytes:
    """The same bytes on every keyboard (NFC)."""
    return unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")


_NOBODYS = (
    f"$argon2id$v=19$m={_MEMORY_KIB},t={_ITERATIONS},p={_LANES}$AAAAAAAAAAAAAAAAAAAAAA"
    "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)


class Throttle:
    """Failed sign-ins by name: from the sixth in a row each makes the next wait twice as long, up to a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how many, and until when to wait

    def check(self, name: str) -> None:
        """Raise `SignInThrottled` while `name` has to wait."""
        with self._lock:
            _, until = self._failures.get(name, (0, 0.0))
        if (wait := until - self._clock()) > 0:
            raise SignInThrottled(seconds=f"{wait + 1:.0f}")

    def failed(self, name: str) -> None:
        """Count a failure; of a thousand names the one that failed longest ago is forgotten."""
        with self._lock:
            count = self._failures.pop(name, (0, 0.0))[0] + 1
            wait = min(_LONGEST_WAIT, 2.0 ** min(count - _FREE_FAILURES, 10)) if count > _FREE_FAILURES else 0.0
            self._failures[name] = count, self._clock() + wait
            if len(self._failures) > _MOST_NAMES:
                self._failures.popitem(last=False)

    def succeeded(self, name: str) -> None:
        """Forget a name's failures."""
        with self._lock:
            self._failures.pop(name, None)
