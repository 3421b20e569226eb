"""How well the readers of the register agree: on the appearance, and on the grade, whose terms have an order."""

from collections.abc import Mapping

from coordinator.curation.reading.labels import reads_of
from coordinator.curation.reading.reliability import Level, SiteReliability, reliability_by_site
from coordinator.curation.register.acts import CaseState
from coordinator.curation.register.register import Reading
from shared.federation.cell_policy import CellPolicy
from shared.protocol.annotation import APPEARANCE, GRADE, AnnotationDefinition

_LEVELS: Mapping[str, Level] = {APPEARANCE: "nominal", GRADE: "ordinal"}


def agreement_of(
    reading: Reading, definition: AnnotationDefinition, policy: CellPolicy, seed: int
) -> dict[str, SiteReliability]:
    """The figures of each group that is voted on, over the reads of all films that are neither held back nor withdrawn.

    A read that says no grade is missing for the grade.
    """
    states = {CaseState.ACCEPTED, CaseState.LABELLED, CaseState.RELEASED}
    by_site = dict[str, list[Mapping[str, Mapping[str, str]]]]()
    for case in reading.cases():
        if case.is_film and case.state in states:
            reads = reads_of(reading, case).by_reader
            said = {
                group: {name: term for name, read in reads.items() if (term := getattr(read, group))}
                for group in _LEVELS
            }
            by_site.setdefault(case.site_id, []).append(said)
    return {
        group: reliability_by_site(
            {site: [said[group] for said in studies] for site, studies in by_site.items()},
            [term.name for term in definition.group(group).terms],
            level=level,
            readers=definition.vote.readers,
            policy=policy,
            seed=seed,
        )
        for group, level in _LEVELS.items()
    }
