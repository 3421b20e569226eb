"""What a person saw when they decided, as their form carries it: a decision on anything else is refused."""

from datetime import datetime

from shared.errors.inputs import InvalidArgument
from shared.web.visit import Form


def seen_text(changed_at: datetime) -> str:
    """When that which is shown last changed, as the form's field `seen`."""
    return changed_at.isoformat()


def seen_of(form: Form) -> datetime:
    """The field; raises `InvalidArgument`."""
    try:
        seen = datetime.fromisoformat(form.text("seen", most=40))
    except ValueError:
        raise InvalidArgument(name="The form", problem="open the page anew") from None
    if seen.tzinfo is None:
        raise InvalidArgument(name="The form", problem="open the page anew")
    return seen
