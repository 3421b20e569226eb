"""Files that did not become part of a study."""

from shared.frozen import Frozen
from site_node.reasons import ending_of, reason_for
from site_node.study import Ending, Reason


class RefusedFile(Frozen):
    """A file that did not become part of a study, and why. `source` is its name relative to the source: PHI.

    A file that stays where it lies may name its study; the UIDs are empty where it does not, or was not asked.
    """

    source: str
    ending: Ending
    reason: Reason
    study: str = ""
    series: str = ""
    instance: str = ""

    def __repr__(self) -> str:
        """The reason alone; a file name may hold a patient's."""
        return f"RefusedFile({self.reason.code})"


def refused(source: str, code: str) -> RefusedFile:
    """The record of a file refused with a code of the catalogue; a person looks at conflicting bytes."""
    reason = reason_for(code)
    return RefusedFile(source=source, ending=ending_of(reason), reason=reason)
