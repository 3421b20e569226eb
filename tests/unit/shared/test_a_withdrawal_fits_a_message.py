"""What is signed of a withdrawal names ten thousand instances at most, a whole submission by none."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from shared.frozen import Frozen
from shared.ids import Sha256, SiteId, Uid
from shared.withdrawal import MOST_INSTANCES, Deletion, Purge

AT = datetime(2026, 11, 1, tzinfo=UTC)
DIGEST = Sha256("0" * 64)
DELETION = {
    "submission": DIGEST, "site_id": SiteId("100001"), "study": Uid("1.2.3"), "withdrawn_at": AT, "deleted_at": AT,
    "audit_number": 1, "audit_head": DIGEST,
}  # fmt: skip
PURGE = {"number": 1, "submission": DIGEST, "purged_at": AT}


@pytest.mark.parametrize(("kind", "fields"), [(Deletion, DELETION), (Purge, PURGE)])
def test_it_names_so_many_instances(kind: type[Frozen], fields: dict[str, Any]) -> None:
    """To the last one; with none it is of the whole submission."""
    instances = tuple(Uid(f"1.2.{number}") for number in range(10_000))
    assert len(instances) == MOST_INSTANCES
    for some in ((), instances):
        assert kind.model_validate({**fields, "instances": some}).model_dump()["instances"] == some
    with pytest.raises(ValidationError):
        kind.model_validate({**fields, "instances": (*instances, Uid("1.3"))})
    assert kind.model_validate(fields).model_dump()["instances"] == ()


@pytest.mark.parametrize(("kind", "fields", "name"), [(Deletion, DELETION, "audit_number"), (Purge, PURGE, "number")])
def test_it_is_numbered_from_one(kind: type[Frozen], fields: dict[str, Any], name: str) -> None:
    """By its audit event."""
    kind.model_validate({**fields, name: 1})
    with pytest.raises(ValidationError):
        kind.model_validate({**fields, name: 0})
