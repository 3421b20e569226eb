"""What a person who decides on a plan is told of its cost, and the reason that they give."""

from collections.abc import Iterator, Sequence

from shared.errors.federation import PlanInvalid
from shared.errors.inputs import InvalidArgument
from shared.federation.plan import Plan
from shared.federation.privacy import DELTA, cost_of, epsilon_of
from site_node.federate.policy import SitePolicy
from site_node.home.plans import Spent

_LONGEST_REASON = 200  # characters that travel


def cost_in_words(plan: Plan, policy: SitePolicy, spent: Sequence[Spent]) -> Iterator[tuple[str, str]]:
    """What a private plan would cost of its label's budget, in words."""
    cost = cost_of(plan)
    if cost is None:
        return
    before = [each.charge for each in spent if each.label == cost.label and each.run != plan.run]
    try:
        alone, together = epsilon_of([cost.whole]), epsilon_of([*before, cost.whole])
    except PlanInvalid as error:
        yield ("Epsilon", f"cannot be worked out: {error.fields['problem']}")
        return
    spent_here = f"{together:.2f} with what other plans on {cost.label} spent here, of {policy.epsilon:g}"
    yield ("Epsilon", f"{alone:.2f} at a delta of {DELTA:g}; {spent_here}")


def one_line(reason: str) -> str:
    """A reason as one line, which may travel; raises `InvalidArgument`."""
    text = " ".join(reason.split())
    if not text or not text.isprintable() or len(text) > _LONGEST_REASON:
        raise InvalidArgument(name="--reason", problem=f"give one line of 1 to {_LONGEST_REASON} characters")
    return text
