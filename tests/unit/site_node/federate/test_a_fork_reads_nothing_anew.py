"""What every answer needs and no answer changes is read by the worker once, before it forks."""

from typing import Any

import pytest

from shared.crypto.signing import SigningKey, VerifyKey
from shared.federation.secure_sum import masks, vectors
from shared.protocol.loader import protocol_names, protocol_with
from site_node.federate.worker import warm_up


def test_the_worker_reads_the_protocols_before_it_forks() -> None:
    """Else each fork that counts parses them all: of a query's two such stages, most of its time."""
    protocol_with.cache_clear()
    warm_up()
    assert protocol_with.cache_info().currsize == len(protocol_names())


def test_the_worker_uses_each_cipher_before_it_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first use of each loads it, and each fork's is the first: a third of a stage's time."""
    used = set[str]()
    uses: list[tuple[Any, str]] = [(SigningKey, "sign"), (VerifyKey, "verify")]
    uses += [(masks, name) for name in ("public_of", "seal_parcel", "open_parcel")] + [(vectors, "add_mask")]

    def noting(name: str, call: Any) -> Any:
        def use(*arguments: object, **names: object) -> Any:
            used.add(name)
            return call(*arguments, **names)

        return use

    for place, name in uses:
        monkeypatch.setattr(place, name, noting(name, getattr(place, name)))
    warm_up()
    assert used == {name for _, name in uses}
