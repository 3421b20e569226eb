"""Verdicts on a single study or sealed file."""

from shared.errors.base import ExitCode, Text, Verdict


class StudyError(Verdict):
    """One study cannot be processed further; the others can."""


class DicomUnreadable(StudyError):
    """A file is not DICOM or is damaged."""

    text = Text("This file is no readable DICOM: {problem}.", ExitCode.PARTIAL, "INVALID_ARGUMENT")


class DicomUnsupported(StudyError):
    """A file is DICOM of a kind that cannot be processed safely."""

    text = Text("This DICOM file cannot be processed safely: {problem}.", ExitCode.PARTIAL, "INVALID_ARGUMENT")


class PixelsUnreadable(StudyError):
    """A frame cannot be decoded, so its content is unknown."""

    text = Text(
        "A frame of the study cannot be decoded; look at it with another viewer.",
        ExitCode.PARTIAL,
        "INVALID_ARGUMENT",
    )


class PixelCheckFailed(StudyError):
    """The search for text in a frame ended without an answer."""

    text = Text(
        "The search for burned-in text ended without an answer; look at the study, or try again.",
        ExitCode.PARTIAL,
        "INTERNAL",
    )


class SealingError(Verdict):
    """A sealed study is not what it claims to be."""


class SealedFileInvalid(SealingError):
    """A sealed file is cut, changed or not for this key."""

    text = Text("The sealed study cannot be opened: {problem}; nothing was written.", ExitCode.REFUSED, "DATA_LOSS")


class ManifestInvalid(SealingError):
    """A manifest does not fit its study."""

    text = Text(
        "The manifest does not fit its study: {problem}; nothing was accepted.",
        ExitCode.REFUSED,
        "INVALID_ARGUMENT",
    )
