"""What a console refuses: links, sign-ins, and requests that no page of its own made."""

from shared.errors.base import ExitCode, RicordError, Text


class ConsoleError(RicordError):
    """A request of a browser is not answered as asked."""


class InvitationInvalid(ConsoleError):
    """An invitation's link was used, has expired, was replaced, or was never made."""

    text = Text(
        "This link is not valid: it was used, has expired or was replaced. Ask for a new one.",
        ExitCode.REFUSED,
        "UNAUTHENTICATED",
    )


class PersonExists(ConsoleError):
    """A person was invited who has signed in before."""

    text = Text(
        "A person of this name has joined already; remove them first if they lost their passphrase. "
        "Nothing was changed.",
        ExitCode.USAGE,
        "ALREADY_EXISTS",
    )


class SignInRefused(ConsoleError):
    """Nobody has this name and passphrase."""

    text = Text("This name and passphrase do not fit; nobody was signed in.", ExitCode.REFUSED, "UNAUTHENTICATED")


class SignInThrottled(ConsoleError):
    """Too many sign-ins failed."""

    text = Text(
        "Too many sign-ins failed; wait {seconds} seconds, then try again.", ExitCode.REFUSED, "RESOURCE_EXHAUSTED"
    )


class SignInNeeded(ConsoleError):
    """A page was asked for without a session."""

    text = Text("You are not signed in, or no longer; sign in, then do it again.", ExitCode.REFUSED, "UNAUTHENTICATED")


class HostForeign(ConsoleError):
    """A request names a host that is not this console."""

    text = Text(
        "This console is not called by that name; `console.names` in the settings lists its names.",
        ExitCode.REFUSED,
        "PERMISSION_DENIED",
    )


class FormForeign(ConsoleError):
    """A form was not sent from a page of this session."""

    text = Text(
        "This form does not come from a page of yours, or the session has changed; nothing was done. Open the page "
        "anew and do it again.",
        ExitCode.REFUSED,
        "PERMISSION_DENIED",
    )


class RequestTooLarge(ConsoleError):
    """More was sent than a page takes."""

    text = Text("More was sent than this page takes ({most} bytes); nothing was done.", ExitCode.USAGE, "OUT_OF_RANGE")


class RequestTooSlow(ConsoleError):
    """A request did not end in time."""

    text = Text("The request did not end in time; nothing was done. Do it again.", ExitCode.FAILED, "DEADLINE_EXCEEDED")


class ConsoleBusy(ConsoleError):
    """More is asked at once than a console answers."""

    text = Text("Too much is asked of this console at once; do it again.", ExitCode.FAILED, "UNAVAILABLE")


class PageMissing(ConsoleError):
    """There is no such page, or it cannot be asked so."""

    text = Text("There is no such page here.", ExitCode.USAGE, "NOT_FOUND")


class ChangedMeanwhile(ConsoleError):
    """What a person decided on is no longer as they saw it."""

    text = Text(
        "This has changed since you opened the page, so nothing was done; look at it anew, then decide.",
        ExitCode.USAGE,
        "ABORTED",
    )
