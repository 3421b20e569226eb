"""In what two files of one image differ, however each is encoded."""

from pathlib import Path

from shared.errors.studies import DicomUnreadable
from shared.frozen import Frozen


class Difference(Frozen):
    """An attribute, by keyword or else by tag, and its two values as text. The values are PHI, for a screen alone."""

    attribute: str
    values: tuple[str, str]

    def __repr__(self) -> str:
        """The attribute alone."""
        return f"Difference({self.attribute})"


def differences(first: Path, second: Path) -> tuple[Difference, ...]:
    """What differs between two files; nothing where they hold one image."""
    from site_node.dicom.comparison import unlike

    try:
        return tuple(Difference(attribute=attribute, values=values) for attribute, values in unlike(first, second))
    except DicomUnreadable:
        return (Difference(attribute="SOPInstanceUID", values=("", "")),)
