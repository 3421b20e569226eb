"""What a site requires of a session: enough peers it knows, and a threshold that a lying server cannot get under.

Let n be the roster, u the peers in it that the site does not know by a pinned key, and k the known ones that might
collude with the coordinator. To learn a site's vector, a liar needs t shares of its seed and t of its mask key; an
honest peer gives one or the other. It has n - u - k honest peers to ask, so `2t > n + k + u` makes it impossible.
"""

from collections.abc import Collection, Sequence

from pydantic import Field

from shared.errors.federation import RunRefused, TooFewSites
from shared.federation.secure_sum.messages import SumPlan
from shared.frozen import Frozen
from shared.ids import SiteId

MINIMUM = 3  # below three, a sum shows each of two sites the other's vector


class SumPolicy(Frozen):
    """A site's own terms. A site without pins trusts the coordinator not to invent sites."""

    minimum: int = Field(default=MINIMUM, ge=MINIMUM)  # survivors, the site itself among them; pinned ones if any
    colluders: int = Field(default=1, ge=0)  # known peers that may side with the coordinator
    pins: dict[SiteId, str] = Field(default={})  # fingerprints exchanged with peers out of band

    def known(self, own: SiteId, among: Collection[SiteId]) -> int:
        """How many of `among` count towards the minimum: all of them, or with pins the pinned ones and the site."""
        return len(among) if not self.pins else sum(site == own or site in self.pins for site in among)

    def check_plan(self, plan: SumPlan, own: SiteId) -> None:
        """Return when the plan meets this policy; else raise `RunRefused` or `TooFewSites`."""
        for peer in plan.roster:
            if self.pins.get(peer.site_id, peer.key.fingerprint) != peer.key.fingerprint:
                raise RunRefused(problem=f"site {peer.site_id} has another key than the one pinned here")
        self.check_survivors(plan, own, plan.sites)
        unknown = len(plan.sites) - self.known(own, plan.sites)
        if 2 * plan.threshold <= len(plan.sites) + self.colluders + unknown:
            raise RunRefused(problem=f"a threshold of {plan.threshold} of {len(plan.sites)} sites is too low")

    def check_survivors(self, plan: SumPlan, own: SiteId, survivors: Collection[SiteId]) -> None:
        """Return when enough sites are left, known ones and in all; else raise `TooFewSites`."""
        for present, minimum in ((self.known(own, survivors), self.minimum), (len(survivors), plan.threshold)):
            if present < minimum:
                raise TooFewSites(present=str(present), minimum=str(minimum))


class Answered(Frozen):
    """The sites of one answered session on one subject: the planned roster and the survivors.

    No survivors: the site sent its masked vector and was not asked, or not yet, to sign the list of survivors.
    """

    roster: tuple[SiteId, ...]
    survivors: tuple[SiteId, ...] = ()


def default_threshold(sites: int, *, colluders: int = 1, minimum: int = MINIMUM) -> int:
    """The lowest threshold that `SumPolicy` accepts for a roster of that size (all known): 2t > n + k, t >= minimum."""
    return max((sites + colluders) // 2 + 1, minimum)


def refuse_near_repeat(
    previous: Sequence[Answered],
    roster: Sequence[SiteId],
    survivors: Sequence[SiteId] | None,
    policy: SumPolicy,
    own: SiteId,
) -> None:
    """Raise `RunRefused` unless the sets are each equal to, disjoint from, or nested with every previous one.

    Nested sets must differ by at least `policy.minimum` known sites. Rosters are compared with rosters and survivors
    with survivors (`None`, or none in a previous answer: not known). The sets of one memory, which all hold `own`, are
    then a chain whose first set and whose steps have the minimum of known sites each. Any sum or difference of their
    sums, even for someone who knows the vectors of all unknown sites, weighs the sites of one step alike: it never
    shows fewer known sites than the minimum. Sets that this memory does not hold are outside this guarantee.
    """
    for answer in previous:
        _refuse_near(answer.roster, roster, policy, own)
        if survivors and answer.survivors:
            _refuse_near(answer.survivors, survivors, policy, own)


def _refuse_near(previous: Sequence[SiteId], planned: Sequence[SiteId], policy: SumPolicy, own: SiteId) -> None:
    first, second = set(previous), set(planned)
    if first == second or not first & second:
        return
    if not (first < second or second < first):
        raise RunRefused(problem="this was answered before with sites that are partly others, and sums could be solved")
    count = policy.known(own, first ^ second)
    if count < policy.minimum:
        raise RunRefused(
            problem=f"this was answered before with {count} known site(s) more or fewer, whom the difference would show"
        )
