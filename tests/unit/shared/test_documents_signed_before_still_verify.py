"""What was signed before a field existed keeps its bytes, its signature and its one form."""

import hashlib
import json

import pytest

from shared.agreement import Scope
from shared.crypto.signing import SigningKey
from shared.errors.trust import SignatureInvalid
from shared.frozen import Frozen
from shared.manifest import canonical_json
from shared.signed import Signed

OLD = '{"scope":{"description":"chest","modalities":["CT"]}}'  # as it was written before Exhibit A had counts


class Terms(Frozen):
    """The part of the terms that holds a scope."""

    scope: Scope


def signed(text: str) -> tuple[Signed, SigningKey]:
    """A document with a good signature, and whose it is."""
    key = SigningKey.generate()
    return Signed(document=text, signature=key.sign(text.encode())), key


def test_an_old_scope_verifies_and_has_the_defaults() -> None:
    """It bounds no number of studies, names no data elements and no locations, and is written again as it was."""
    document, key = signed(OLD)
    terms = document.verified(key.public, Terms, what="the terms")
    assert (terms.scope.studies, terms.scope.data_elements, terms.scope.locations) == (None, (), ())
    assert canonical_json(terms) == OLD.encode()
    assert document.digest == hashlib.sha256(OLD.encode()).hexdigest()


def test_a_full_scope_is_signed_whole() -> None:
    """What is named is in the signed bytes."""
    scope = Scope(
        description="chest", modalities=("CT",), studies=5, data_elements=("age",), locations=("Ward 1", "Ward 2")
    )
    terms = Terms(scope=scope)
    written = json.loads(canonical_json(terms))["scope"]
    assert (written["studies"], written["data_elements"], written["locations"]) == (5, ["age"], ["Ward 1", "Ward 2"])
    document, key = signed(canonical_json(terms).decode())
    assert document.verified(key.public, Terms, what="the terms") == terms


@pytest.mark.parametrize("empty", ['"studies":null', '"data_elements":[]', '"locations":[]'])
def test_there_is_one_way_to_say_nothing(empty: str) -> None:
    """An empty field that is written out is not the canonical form."""
    members = sorted([*OLD[len('{"scope":{') : -2].split(",", maxsplit=1), empty])
    document, key = signed('{"scope":{' + ",".join(members) + "}}")
    with pytest.raises(SignatureInvalid):
        document.verified(key.public, Terms, what="the terms")
