"""Every integer of a signed document fits the field in which it travels and the column in which it is kept."""

from typing import Any

import pytest
from annotated_types import Ge, Le
from google.protobuf.descriptor import FieldDescriptor
from sqlalchemy import BigInteger, Column, Integer

from coordinator.store import tables
from shared.agreement import AgreementTerms, Execution
from shared.crypto.contents import Contents, ContentsClinical, ContentsInstance
from shared.frozen import Frozen
from shared.manifest import Manifest
from shared.proto.ricord.v1.agreement_pb2 import Agreement
from shared.proto.ricord.v1.submission_pb2 import Submission
from shared.receipt import Receipt

DOCUMENTS = (Manifest, Receipt, AgreementTerms, Execution, Contents, ContentsInstance, ContentsClinical)
WIRE = {
    FieldDescriptor.CPPTYPE_UINT32: 2**32 - 1,
    FieldDescriptor.CPPTYPE_UINT64: 2**64 - 1,
}
PLACES: list[tuple[type[Frozen], Any, Any]] = [
    (Manifest, Submission, tables.submissions),
    (Receipt, Submission, tables.submissions),
    (AgreementTerms, Agreement, tables.agreements),
]


def bounds_of(document: type[Frozen]) -> dict[str, tuple[int, int]]:
    """The least and the greatest value of each integer, by its name."""
    bounds = {}
    for name, field in document.model_fields.items():
        if field.annotation is int:
            [least] = [int(limit.ge) for limit in field.metadata if isinstance(limit, Ge)]  # type: ignore[call-overload]
            [greatest] = [int(limit.le) for limit in field.metadata if isinstance(limit, Le)]  # type: ignore[call-overload]
            bounds[name] = least, greatest
    return bounds


def largest(column: Column[Any]) -> int:
    """The largest value that both databases keep in a column."""
    return 2**63 - 1 if isinstance(column.type, BigInteger) else 2**31 - 1


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_integer_has_bounds(document: type[Frozen]) -> None:
    """A new one without them fails here."""
    assert all(0 <= least < greatest < 2**63 for least, greatest in bounds_of(document).values())


@pytest.mark.parametrize(("document", "message", "table"), PLACES)
def test_the_bounds_are_those_of_field_and_column(document: type[Frozen], message: Any, table: Any) -> None:
    """No value that the document may have is too large for the message of a list, or for its column."""
    for name, (_, greatest) in bounds_of(document).items():
        field = message.DESCRIPTOR.fields_by_name.get(name)
        assert field is None or greatest <= WIRE[field.cpp_type]
        column = table.columns.get(name)
        assert column is None or (isinstance(column.type, Integer) and greatest <= largest(column))
