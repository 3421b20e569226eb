"""The protocol and its editions."""

from shared.errors.base import ExitCode, RicordError, Text


class ProtocolError(RicordError):
    """The protocol's data are not what they must be."""


class ProtocolInvalid(ProtocolError):
    """A protocol file names an action or option that does not exist."""

    text = Text("The protocol file {file} cannot be used: {problem}.", ExitCode.FAILED, "FAILED_PRECONDITION")


class ProtocolMismatch(ProtocolError):
    """Two sides hold different protocols."""

    text = Text(
        "This node holds protocol {held}, the coordinator {wanted}; install the release that carries {wanted}.",
        ExitCode.REFUSED,
        "FAILED_PRECONDITION",
    )


class EditionOver(ProtocolError):
    """The coordinator accepts studies of an earlier edition of the protocol no longer."""

    text = Text(
        "Edition {edition} of the protocol is accepted {until}; upgrade.", ExitCode.REFUSED, "FAILED_PRECONDITION"
    )


class EditionNotCovered(ProtocolError):
    """The agreement does not cover an edition of the protocol."""

    text = Text(
        "The agreement does not cover edition {edition} of protocol {protocol}, so studies wait: see `ricord-site "
        "explain --changes`, and ask for an amendment (`ricord-coordinator agreement amend --editions`).",
        ExitCode.REFUSED,
        "FAILED_PRECONDITION",
    )
