"""What is next about an agreement, in sentences."""

from types import MappingProxyType

# Who must do what next, by the state of an agreement.
AGREEMENT_STEPS = MappingProxyType(
    {
        "interested": "the coordinator invites the hospital (`ricord-coordinator site invite`) and sends the token, "
        "with which the hospital reads the agreement (`ricord-site agreement read`)",
        "invited": "the coordinator drafts it (`ricord-coordinator agreement draft`)",
        "drafted": "the hospital reads and signs it (`ricord-site agreement read`, then `agreement sign`)",
        "signed": "the coordinator countersigns it (`ricord-coordinator agreement execute`) and sends the hospital a "
        "join token, with which it enrols (`ricord-site enrol`)",
        "executed": "nothing, it is in force",
        "suspended": "the coordinator puts it in force again (`ricord-coordinator agreement execute`); studies wait",
        "terminated": "it has ended; the coordinator offers a new version (`ricord-coordinator agreement reinstate`), "
        "or invites a hospital that never had one in force again (`ricord-coordinator site invite`)",
        "expired": "its last day is over; the coordinator offers a new version (`ricord-coordinator agreement renew`), "
        "or invites a hospital that never had one in force again (`ricord-coordinator site invite`)",
    }
)


def next_step(state: str) -> str:
    """Who must do what next about an agreement in `state`."""
    return AGREEMENT_STEPS.get(state, "ask the coordinator")
