"""What site and centre must agree on about one cohort summary: its definition, and its name in a secure sum."""

from shared.errors.federation import PlanInvalid
from shared.ids import Sha256
from shared.protocol.cohort import CohortDefinition
from shared.protocol.loader import protocol_with


def definition_of(protocol_digest: Sha256) -> CohortDefinition:
    """The cohort definition of the protocol with that digest; raises `ProtocolMismatch` when this release has none."""
    return protocol_with(protocol_digest).cohort


def definition_named(name: str, protocol_digest: Sha256) -> CohortDefinition:
    """The same; raises `PlanInvalid` where it has another name, too."""
    definition = definition_of(protocol_digest)
    if definition.name != name:
        raise PlanInvalid(problem=f"this protocol's cohort is `{definition.name}`")
    return definition


def subject_of(definition: CohortDefinition) -> str:
    """What a sum of this cohort is called, and under which name a site remembers whom it answered, in every edition."""
    return f"cohort:{definition.name}"
