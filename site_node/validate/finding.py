"""What validation can find, by name. A finding never holds a value."""

from shared.frozen import Frozen
from site_node.reasons import reason_for, sentence_of
from site_node.study import Reason

_INHERITABLE = frozenset({"vr", "value-form"})


class Finding(Frozen):
    """One finding: a code, in the catalogue of reasons after `validate-`, and the attribute it rests on.

    The attribute is a keyword, or `gggg,eeee`.
    """

    code: str
    attribute: str | None = None

    @property
    def is_inheritable(self) -> bool:
        """Whether it is a form error, which is not ours where the source has it as well, and is only counted then."""
        return self.code in _INHERITABLE

    @property
    def reason(self) -> Reason:
        """The finding as the study's reason to stop."""
        return reason_for(f"validate-{self.code}", attribute=self.attribute)

    @property
    def sentence(self) -> str:
        """What was found; also for a code that another release wrote."""
        return sentence_of(f"validate-{self.code}")
