"""What site and centre must agree on about one cohort summary: its definition, and its name in a secure sum."""

from collections.abc import Mapping
from functools import cache

from shared.errors.federation import PlanInvalid
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


def definition_named(name: str, protocol_digest: Sha256) -> CohortDefinition:
    """The same; raises `PlanInvalid` where it has another name, too."""
    definition = definition_of(protocol_digest)
    if definition.name != name:
        raise PlanInvalid(problem=f"this protocol's cohort is `{definition.name}`")
    return definition


@cache
def _definitions() -> Mapping[Sha256, CohortDefinition]:
    return {protocol.digest: protocol.cohort for protocol in map(load_protocol, protocol_names())}


def subject_of(definition: CohortDefinition) -> str:
    """What a sum of this cohort is called, and under which name a site remembers whom it answered, in every edition."""
    return f"cohort:{definition.name}"
