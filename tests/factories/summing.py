"""A federation of secure-sum sites in one process, with a carrier that can lose, change and repeat messages."""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from shared.crypto.signing import SigningKey
from shared.errors.base import RicordError
from shared.errors.federation import SecureSumRefused
from shared.federation.secure_sum.client import SumClient
from shared.federation.secure_sum.memory import SessionMemory
from shared.federation.secure_sum.messages import Answered, Peer, SignedPlan, SumPlan
from shared.federation.secure_sum.policy import SumPolicy, default_threshold
from shared.federation.secure_sum.vectors import Words
from shared.ids import Sha256, SiteId

Change = Callable[[str, SiteId, bytes], bytes]


class ProcessMemory:
    """A `SessionMemory` that lives as long as the process."""

    def __init__(self) -> None:
        self.claims: set[tuple[str, str]] = set()
        self.states: dict[str, bytes] = {}
        self.answers: dict[str, list[Answered]] = {}

    def claim(self, session: str, stage: str) -> None:
        """See `SessionMemory`."""
        if (session, stage) in self.claims:
            raise SecureSumRefused(problem="answered before")
        self.claims.add((session, stage))

    def save(self, session: str, state: bytes) -> None:
        """See `SessionMemory`."""
        self.states[session] = state

    def load(self, session: str) -> bytes:
        """See `SessionMemory`."""
        if session not in self.states:
            raise SecureSumRefused(problem="never begun")
        return self.states[session]

    def wipe(self, session: str) -> None:
        """See `SessionMemory`."""
        self.states.pop(session, None)

    def remember(self, subject: str, answers: Sequence[Answered], allow: Callable[[Sequence[Answered]], None]) -> None:
        """See `SessionMemory`."""
        allow(self.answered(subject))
        self.answers.setdefault(subject, []).extend(answers)

    def answered(self, subject: str) -> tuple[Answered, ...]:
        """See `SessionMemory`."""
        return tuple(self.answers.get(subject, ()))


@dataclass(frozen=True)
class Approving:
    """A contribution that approves every plan."""

    words: Words

    def approve(self, plan: SumPlan) -> None:
        """Agree."""

    def vector(self, plan: SumPlan) -> Words:
        """The site's words."""
        return self.words


@dataclass
class Federation:
    """Sites with a vector each. `lost` holds (stage, site) whose answers never arrive; `changed` alters requests."""

    vectors: Mapping[SiteId, Words]
    policy: SumPolicy = field(default_factory=SumPolicy)
    lost: Iterable[tuple[str, SiteId]] = ()
    changed: Change = lambda _stage, _site, payload: payload

    def __post_init__(self) -> None:
        """Make every key."""
        self.coordinator = SigningKey.generate()
        self.keys = {site: SigningKey.generate() for site in self.vectors}
        self.remembered = {site: ProcessMemory() for site in self.vectors}
        self.memories: Mapping[SiteId, SessionMemory] = self.remembered
        self.answers: dict[tuple[str, SiteId], bytes] = {}
        self.requests: dict[tuple[str, SiteId], bytes] = {}
        self.refusals: dict[tuple[str, SiteId], RicordError] = {}

    def client(self, site: SiteId) -> SumClient:
        """A fresh client each time, as a site's process might be."""
        return SumClient(site, self.keys[site], self.coordinator.public, self.policy, self.memories[site])

    def plan(self, sites: Iterable[SiteId] = (), *, threshold: int = 0, subject: str = "test") -> SignedPlan:
        """A signed plan over `sites` (none: all), by default with the lowest threshold allowed."""
        roster = sorted(sites or self.vectors)
        plan = SumPlan(
            session=secrets.token_hex(16),
            subject=subject,
            protocol_digest=Sha256("0" * 64),
            length=len(next(iter(self.vectors.values()))),
            roster=tuple(Peer(site_id=site, verify_key=str(self.keys[site].public)) for site in roster),
            threshold=threshold or min(default_threshold(len(roster)), len(roster)),
        )
        return SignedPlan.of(plan, self.coordinator)

    def ask(self, stage: str, site: SiteId, payload: bytes) -> bytes:
        """One site's answer."""
        return self.client(site).answer(stage, payload, Approving(self.vectors[site]))

    def __call__(self, stage: str, requests: Mapping[SiteId, bytes]) -> Mapping[SiteId, bytes]:
        """Carry one stage; a site that refuses is missing, as with a real carrier."""
        lost = set(self.lost)
        answers = {}
        for site, payload in requests.items():
            self.requests[stage, site] = self.changed(stage, site, payload)
            try:
                answer = self.ask(stage, site, self.requests[stage, site])
            except RicordError as error:
                self.refusals[stage, site] = error
                continue
            self.answers[stage, site] = answer
            if (stage, site) not in lost:
                answers[site] = answer
        return answers


def sites(count: int) -> list[SiteId]:
    """The first SITEIDs."""
    return [SiteId(str(100_000 + number)) for number in range(count)]


def federation(count: int, length: int = 3, **settings: object) -> Federation:
    """`count` sites with random vectors."""
    words = {site: random_words(length) for site in sites(count)}
    return Federation(words, **settings)  # type: ignore[arg-type] # passed on as they are


def random_words(length: int) -> Words:
    """Words over the whole range of 64 bits."""
    return np.frombuffer(secrets.token_bytes(8 * length), dtype="<u8").astype(np.uint64)


def true_sum(vectors: Iterable[Words]) -> Words:
    """The sum modulo 2^64, by Python's whole numbers."""
    columns = zip(*(words.tolist() for words in vectors), strict=True)
    return np.array([sum(column) % 2**64 for column in columns], dtype=np.uint64)
