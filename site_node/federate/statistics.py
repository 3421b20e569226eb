"""The site's part of a cohort summary: count its snapshot by the definition, and give the counts to a secure sum only.

A count leaves this site only under a mask; the masks cancel in the sum over all sites and nowhere else.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from shared.crypto.signing import SigningKey, VerifyKey
from shared.errors.federation import RunRefused
from shared.errors.protocol import ProtocolMismatch
from shared.federation.asked import definition_asked, inputs_asked
from shared.federation.cell_policy import CellPolicy
from shared.federation.cohort import definition_of, subject_of
from shared.federation.noise import scale_of
from shared.federation.secure_sum.client import SumClient
from shared.federation.secure_sum.memory import FileMemory
from shared.federation.secure_sum.messages import SumPlan
from shared.federation.secure_sum.policy import SumPolicy
from shared.federation.secure_sum.vectors import Words
from shared.federation.task import StatisticsTask
from shared.ids import Sha256, SiteId
from shared.protocol.cohort import MISSING, CohortDefinition
from site_node.federate.counting import count, part_of, vector_of
from site_node.federate.noise import with_noise
from site_node.home.library import LibraryStudy


def answer(
    stage: str,
    payload: bytes,
    *,
    site_id: SiteId,
    key: SigningKey,
    coordinator: VerifyKey,
    memory: Path,
    studies: Callable[[], Sequence[LibraryStudy]],
    policy: SumPolicy,
    protocol_digest: Sha256,
    cells: CellPolicy,
    roster: Iterable[SiteId] | None = None,
    task: StatisticsTask | None = None,
    minimum_patients: int = 0,
) -> bytes:
    """Answer one stage of a cohort summary's secure sum.

    `memory` is a folder kept between runs; `studies` gives what is counted; `cells` is the weakest policy for small
    cells that the site accepts; `roster`, when given, is the one that the site's policy approved; `task` is the run's,
    without one the protocol's whole cohort; of parts of it a site with fewer than `minimum_patients` tells nothing.
    Raises what `SumClient.answer` raises, `RunRefused`, `PlanInvalid` and `ProtocolMismatch`; then no count has left.
    """
    task = task or StatisticsTask(cohort=definition_of(protocol_digest).name)
    approved = None if roster is None else frozenset(roster)
    counts = LibraryCounts(protocol_digest, studies, cells, approved, task, minimum_patients)
    sum_memory = FileMemory(memory)
    sum_memory.wipe_stale()
    return SumClient(site_id, key, coordinator, policy, sum_memory).answer(stage, payload, counts)


class LibraryCounts(NamedTuple):
    """The library's counts as a contribution to a sum."""

    protocol_digest: Sha256
    studies: Callable[[], Sequence[LibraryStudy]]
    cells: CellPolicy
    roster: frozenset[SiteId] | None
    task: StatisticsTask
    minimum_patients: int

    def approve(self, plan: SumPlan) -> None:
        """Take part in a plan that asks for what the run does, of the approved roster, and hides enough of it.

        Of named parts of the cohort this library must hold enough patients, and a value of each variable.
        """
        if plan.protocol_digest != self.protocol_digest:
            raise ProtocolMismatch(held=self.protocol_digest, wanted=plan.protocol_digest)
        definition = self.definition
        if plan.subject != subject_of(definition) or plan.length != definition.length:
            raise RunRefused(problem="the sum is not of this protocol's cohort")
        if plan.inputs != inputs_asked(self.task, definition):
            raise RunRefused(problem="the sum is of other histograms or tables than the run")
        if self.roster is not None and self.roster != set(plan.sites):
            raise RunRefused(problem="the sum is over other sites than the run")
        if not CellPolicy.named(plan.cells).hides_as_much_as(self.cells):
            raise RunRefused(problem=f"the table would hide less than the policy {self.cells.name} does")
        if self.task.kinds != ("cohort",):
            check_enough(definition, count(definition, self.studies()), self.minimum_patients)

    @property
    def definition(self) -> CohortDefinition:
        """What the run's task counts."""
        return definition_asked(self.task, self.protocol_digest)

    def vector(self, plan: SumPlan) -> Words:
        """The counts, in the definition's order, with noise where the task asks for it."""
        del plan
        definition = self.definition
        if self.task.privacy is None:
            return vector_of(definition, self.studies())
        studies = part_of(self.task.filter, self.protocol_digest, self.studies())
        counts = count(definition, studies, once=True)
        return with_noise([counts[cell] for cell in definition.cells], scale_of(definition, self.task.privacy))


def check_enough(definition: CohortDefinition, counts: Mapping[str, int], minimum_patients: int) -> None:
    """Raise `RunRefused` where there are too few patients, or nobody has a value of a variable."""
    if counts["patients"] < minimum_patients:
        raise RunRefused(problem=f"fewer than {minimum_patients} patients are in the library here")
    for variable in definition.variables:
        if counts[f"{variable.name}/{MISSING}"] == counts[variable.total]:
            raise RunRefused(problem=f"nothing in the library here has a value of `{variable.field}`")
