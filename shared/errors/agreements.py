"""What an agreement allows, and what was withdrawn from it."""

from shared.agreement_steps import next_step
from shared.errors.base import ExitCode, RicordError, Text, Verdict

_DONE_NOTHING = "Nothing was changed."


class AgreementError(RicordError):
    """An agreement does not allow the request."""


class AgreementAtWrongState(AgreementError):
    """An agreement is not where it must be; the sentence says who must do what next."""

    def __init__(self, private: str = "", **fields: str) -> None:
        super().__init__(private, **{"next": next_step(fields.get("state", "")), **fields})


class AgreementNotExecuted(AgreementAtWrongState):
    """No agreement in force covers this."""

    text = Text(
        "The agreement is {state}, not executed; nothing is accepted outside an agreement in force. Next: {next}.",
        ExitCode.REFUSED,
        "FAILED_PRECONDITION",
    )


class AgreementTerminated(AgreementError):
    """The agreement has ended, and with it the site's certificates."""

    text = Text(
        "The coordinator terminated the agreement, and refuses this site since {moment}; studies wait here. To go on, "
        "ask it for a next version (`ricord-coordinator agreement reinstate`), which is read and signed with the token "
        "that this prints. What was submitted it withdraws where you ask for that.",
        ExitCode.REFUSED,
        "FAILED_PRECONDITION",
    )


class AgreementNotBegun(AgreementError):
    """An agreement's first day is still to come."""

    text = Text(
        "The agreement begins on {moment}; nothing is accepted before.",
        ExitCode.REFUSED,
        "FAILED_PRECONDITION",
    )


class AgreementSuperseded(AgreementError):
    """A later version of the agreement is in force; the site fetches it and goes on under it."""

    text = Text(
        "A later version of the agreement is in force; a running node fetches it, as does `ricord-site agreement "
        "status`.",
        ExitCode.REFUSED,
        "FAILED_PRECONDITION",
    )


class AgreementModeNotAllowed(AgreementError):
    """The agreement in force does not cover this way of taking part."""

    text = Text(
        "The agreement does not cover `{mode}`; ask the coordinator for an amendment.",
        ExitCode.REFUSED,
        "PERMISSION_DENIED",
    )


class StudyQuotaReached(AgreementError):
    """As many studies were received as the agreement covers."""

    text = Text(
        "The agreement covers {studies} studies, and so many or more were received; further ones wait, ask the "
        "coordinator for an amendment.",
        ExitCode.REFUSED,
        "FAILED_PRECONDITION",
    )


class AgreementTextChanged(AgreementError):
    """The text signed is not the text drafted."""

    text = Text(
        "The agreement's text is not the one that was shown; read it again before signing.",
        ExitCode.REFUSED,
        "FAILED_PRECONDITION",
    )


class AgreementTransitionInvalid(AgreementAtWrongState):
    """An agreement cannot go from its state to the requested one."""

    text = Text(
        "An agreement that is {state} cannot become {wanted}. Next: {next}.",
        ExitCode.REFUSED,
        "FAILED_PRECONDITION",
    )


class SubmissionWithdrawn(Verdict):
    """The study was withdrawn, and the side that withdrew it has not allowed it again."""

    text = Text(
        "Study {study} was withdrawn, or an image of it; the side that withdrew it must allow it first (`withdraw "
        "--allow`). " + _DONE_NOTHING,
        ExitCode.REFUSED,
        "FAILED_PRECONDITION",
    )
