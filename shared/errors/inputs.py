"""What a person or another program hands in: arguments, names, lists, sheets."""

from shared.errors.base import ExitCode, RicordError, Text

_DONE_NOTHING = "Nothing was changed."


class InputError(RicordError):
    """The input cannot be processed."""


class SourceMissing(InputError):
    """The folder or file named does not exist or cannot be read."""

    text = Text("{source} does not exist or cannot be read.", ExitCode.USAGE, "NOT_FOUND")


class NoDicomFound(InputError):
    """A folder is empty or holds no DICOM."""

    text = Text("{source} holds no DICOM file; name a folder that does. " + _DONE_NOTHING, ExitCode.USAGE, "NOT_FOUND")


class InvalidIdentifier(InputError):
    """A text is not an identifier of the required kind."""

    text = Text("This is not a valid {kind}.", ExitCode.USAGE, "INVALID_ARGUMENT")


class InvalidArgument(InputError):
    """An argument, or a field of a message, is not what it should be."""

    text = Text("{name} is not valid: {problem}.", ExitCode.USAGE, "INVALID_ARGUMENT")


class ClinicalSheetInvalid(InputError):
    """A clinical sheet cannot be read as one."""

    text = Text("The clinical sheet cannot be used: {problem}. " + _DONE_NOTHING, ExitCode.USAGE, "INVALID_ARGUMENT")


class AccessionListInvalid(InputError):
    """A list of accession numbers cannot be read as one."""

    text = Text(
        "The list of accession numbers cannot be used: {problem}. " + _DONE_NOTHING,
        ExitCode.USAGE,
        "INVALID_ARGUMENT",
    )


class LinkageInvalid(InputError):
    """A linkage, or a file of it, cannot be read."""

    text = Text("The linkage cannot be read: {problem}. " + _DONE_NOTHING, ExitCode.USAGE, "INVALID_ARGUMENT")


class LinkageConflict(InputError):
    """A linkage to import contradicts the ledger, or the agreement."""

    text = Text("The linkage does not fit: {problem}. " + _DONE_NOTHING, ExitCode.USAGE, "FAILED_PRECONDITION")


class NotFound(InputError):
    """The object named does not exist."""

    text = Text("There is no {kind} {name}.", ExitCode.USAGE, "NOT_FOUND")


class SubmissionSuperseded(InputError):
    """A later submission of the same study is open."""

    text = Text(
        "Submission {submission} was superseded: submission {by} of the same study came later and is open. "
        + _DONE_NOTHING,
        ExitCode.USAGE,
        "FAILED_PRECONDITION",
    )


class SubmissionTransitionInvalid(InputError):
    """A submission cannot come from its state into the one wanted."""

    text = Text(
        "The submission is {state} and cannot become {wanted}; open it first with `curate open`, or look at its "
        "state with `submission show`. " + _DONE_NOTHING,
        ExitCode.USAGE,
        "FAILED_PRECONDITION",
    )


class ReadingRefused(InputError):
    """A read or an adjudication of a study cannot be taken."""

    text = Text("{what} is not recorded: {problem}. " + _DONE_NOTHING, ExitCode.USAGE, "FAILED_PRECONDITION")


class ActRefused(InputError):
    """A study at the curator's is in a state, or a person in a role, in which something is not done."""

    text = Text("`{act}` is refused: {problem}. " + _DONE_NOTHING, ExitCode.USAGE, "FAILED_PRECONDITION")


class FilmUnreadable(InputError):
    """A film cannot be shown to a reader."""

    text = Text(
        "This film cannot be shown: {problem}. Read the others, and say so in the note.",
        ExitCode.FAILED,
        "FAILED_PRECONDITION",
    )


class AmbiguousReference(InputError):
    """A name that was not given whole fits several things."""

    text = Text("{count} {kind} begin with what was given; give more of it.", ExitCode.USAGE, "INVALID_ARGUMENT")


class NotInQuarantine(InputError):
    """The study named does not wait for a person."""

    text = Text(
        "Study {study} does not wait for a person, it is {state}; `ricord-site review audit` shows what was "
        "decided, `ricord-site status` what waits.",
        ExitCode.USAGE,
        "FAILED_PRECONDITION",
    )
