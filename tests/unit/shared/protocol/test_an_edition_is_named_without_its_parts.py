"""Which edition is installed is known without reading what it says."""

import pytest

from shared.errors.protocol import ProtocolInvalid, ProtocolMismatch
from shared.ids import Sha256
from shared.protocol.loader import load_edition, load_protocol, protocol_names, protocol_with
from shared.protocol.words import Words


@pytest.mark.parametrize("name", protocol_names())
def test_it_is_the_edition_that_is_loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name, edition and digest; the word lists, which take the time, are hashed only."""
    loaded = load_protocol(name).named
    load_edition.cache_clear()
    monkeypatch.setattr(Words, "from_files", None)
    assert load_edition(name) == loaded


def test_one_that_this_release_has_not_is_refused() -> None:
    """As `load_protocol` refuses it."""
    with pytest.raises(ProtocolInvalid):
        load_edition("nothing")


@pytest.mark.parametrize("name", protocol_names())
def test_an_edition_is_got_by_its_digest(name: str) -> None:
    """And by no other: which editions are here is said."""
    protocol_with.cache_clear()
    assert protocol_with(load_edition(name).digest) == load_protocol(name)
    with pytest.raises(ProtocolMismatch) as refused:
        protocol_with(Sha256("0" * 64))
    assert load_edition(name).digest in str(refused.value.fields)
