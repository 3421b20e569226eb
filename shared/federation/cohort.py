"""What site and centre must agree on about one cohort summary: its definition, and its name in a secure sum."""

from collections.abc import Mapping
from functools import cache

from shared.errors.protocol import ProtocolMismatch
from shared.ids import Sha256
from shared.protocol.cohort import CohortDefinition
from shared.protocol.loader import load_protocol, protocol_names


def definition_of(protocol_digest: Sha256) -> CohortDefinition:
    """The cohort definition of the protocol with that digest; raises `ProtocolMismatch` when this release has none."""
    definitions = _definitions()
    if protocol_digest not in definitions:
        raise ProtocolMismatch(held=", ".join(sorted(definitions)), wanted=protocol_digest)
    return definitions[protocol_digest]


@cache
def _definitions() -> Mapping[Sha256, CohortDefinition]:
    return {protocol.digest: protocol.cohort for protocol in map(load_protocol, protocol_names())}


def subject_of(definition: CohortDefinition) -> str:
    """What a sum of this cohort is called, and under which name a site remembers whom it answered, in every edition."""
    return f"cohort:{definition.name}"
