"""What a site requires of a session: enough peers it knows, and a threshold that a lying server cannot get under.

Let n be the roster, u the peers in it that the site does not know by a pinned key, and k the known ones that might
collude with the coordinator. To learn a site's vector, a liar needs t shares of its seed and t of its mask key; an
honest peer gives one or the other. It has n - u - k honest peers to ask, so `2t > n + k + u` makes it impossible.
"""

from collections.abc import Collection, Iterable, Sequence

from pydantic import Field

from shared.errors.federation import RunRefused, TooFewSites
from shared.federation.secure_sum.messages import Answered, SumPlan
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
    """Raise `RunRefused` unless the planned sets are new to no one, or each fits in with every previous one.

    `previous` are the answers that this site gave or heard of from the others. Rosters are compared with rosters and
    survivors with survivors (`None`, or none in a previous answer: not known). A new set equals, contains, is part of,
    or shares no site with each previous one; nested sets differ by at least `policy.minimum` known sites, and so many
    known sites, or none, of each set are in no smaller one. A part of an earlier set holds the lowest known site of it,
    which therefore knows of every such part. So the sets of a whole federation whose sites tell one another what they
    answered are made of disjoint groups of the minimum of known sites each, and every sum of their sums weighs the
    sites of a group alike.
    """
    _refuse_near([answer.roster for answer in previous], roster, policy, own)
    if survivors:
        _refuse_near([answer.survivors for answer in previous if answer.survivors], survivors, policy, own)


def _refuse_near(
    previous: Iterable[Sequence[SiteId]], planned: Sequence[SiteId], policy: SumPolicy, own: SiteId
) -> None:
    new, family = frozenset(planned), {frozenset(each) for each in previous}
    if new in family:
        return
    for other in family:
        if new & other:
            _refuse_unless_nested(new, other, policy, own)
    for whole in (new, *(each for each in family if new < each)):
        rest = whole.difference(*(each for each in (*family, new) if each < whole))
        count = policy.known(own, rest)
        if rest and count < policy.minimum:
            raise RunRefused(
                problem=f"sums over parts of these sites would reveal the {count} known site(s) in none of them"
            )


def _refuse_unless_nested(new: frozenset[SiteId], other: frozenset[SiteId], policy: SumPolicy, own: SiteId) -> None:
    if not (new < other or other < new):
        raise RunRefused(problem="this was answered before with partly different sites, and both sums could be solved")
    count = policy.known(own, new ^ other)
    if count < policy.minimum:
        raise RunRefused(
            problem=f"this was answered before with {count} known site(s) more or fewer, and would reveal them"
        )
    keeper = min((site for site in other if policy.known(own, [site])), default=None)
    if keeper is not None and keeper not in new:
        raise RunRefused(problem=f"this was answered before with more sites, and site {keeper} of them is not here")
