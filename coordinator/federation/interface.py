"""What the federation asks of the rest of the coordinator: who may take part. The store implements it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from shared.agreement import Mode
from shared.frozen import Frozen
from shared.ids import SiteId

LEADING = "federation"  # the lock of the process that executes the runs
RUNS = "runs"  # the word that a run was asked for or stopped, and the folder of their files
FEDERATED = (Mode.COHORT, Mode.STATISTICS, Mode.TRAINING)


class RegisteredNode(Frozen):
    """A site's registered keys: the Flower node key, and the fingerprint of its Ed25519 signing key."""

    public_key: bytes  # PEM, SubjectPublicKeyInfo, NIST P-384
    fingerprint: str  # "SHA256:…"


class NodeRegistry(Protocol):
    """Nodes of sites whose agreement is in force now; read at every message, so suspension is immediate."""

    def nodes(self, modes: tuple[Mode, ...]) -> Mapping[SiteId, RegisteredNode]:
        """The nodes of sites whose executed agreement covers at least one of `modes`."""
        ...


class Members(Protocol):
    """Enrolled sites whose agreement is in force now, whether or not they have registered a node."""

    def members(self, modes: tuple[Mode, ...]) -> Mapping[SiteId, str]:
        """The fingerprints of the sites whose executed agreement covers at least one of `modes`."""
        ...


class Signals(Protocol):
    """Words by which the processes of the federation wake each other; the store carries them."""

    def send(self, word: str) -> None:
        """Say a word to all who listen; it may be lost."""
        ...

    def listening(self, heard: Callable[[str], None]) -> AbstractContextManager[None]:
        """Call `heard` with each word while the block runs; with an empty one where some may have been lost."""
        ...


class SharedFiles(Protocol):
    """Files that every coordinator of the federation reaches by their names."""

    def keep(self, name: str, file: Path) -> None:
        """Keep a file, whole and durable; it replaces the one of that name."""
        ...

    def fetch(self, name: str, file: Path) -> bool:
        """Write a kept file, whole; `False`, and nothing written, when there is none of that name."""
        ...
