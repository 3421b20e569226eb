"""What became of a film: its reads, the vote on them, what an adjudicator decided, and so its label."""

import json
from collections.abc import Mapping

from coordinator.curation.reading.consensus import Consensus, adjudicate, consensus
from coordinator.curation.reading.reads import FilmRead
from coordinator.curation.register.acts import CaseState
from coordinator.curation.register.register import Case, Reading
from shared.frozen import Frozen
from shared.ids import Sha256, SiteId, Uid
from shared.protocol.annotation import AnnotationDefinition


class Reads(Frozen):
    """The last read of each reader of a film, by pseudonym; `numbers` are those of the register, in order."""

    numbers: tuple[int, ...]
    by_reader: Mapping[str, FilmRead]

    def vote(self, definition: AnnotationDefinition) -> Consensus | None:
        """What the reads decide; `None` while some are missing."""
        if len(self.by_reader) < definition.vote.readers:
            return None
        return consensus([read.classification for read in self.by_reader.values()], definition)


class Label(Frozen):
    """The label of a film, the reads from which it follows, and who adjudicated; readers by their pseudonyms."""

    submission: Sha256
    site_id: SiteId
    study: Uid
    definition: Sha256
    result: Consensus
    reads: Mapping[str, FilmRead]
    adjudicator: str | None = None


def reads_of(reading: Reading, case: Case) -> Reads:
    """What was read of a film so far; of a corrected read the correction."""
    rows = reading.db.execute(
        "select reads.number, pseudonym, answers from reads join readers on readers.number = reads.reader"
        " where case_number = ? order by reads.number",
        (case.number,),
    )
    last = {pseudonym: (number, FilmRead.model_validate_json(answers)) for number, pseudonym, answers in rows}
    return Reads(
        numbers=tuple(sorted(number for number, _ in last.values())),
        by_reader={pseudonym: read for pseudonym, (_, read) in sorted(last.items())},
    )


def label_of(reading: Reading, case: Case, definition: AnnotationDefinition) -> Label | None:
    """The label as it follows from reads and adjudication; `None` while something is undecided.

    An adjudication counts for the reads that it was made of: after a correction somebody decides again.
    """
    reads = reads_of(reading, case)
    result, adjudicator = reads.vote(definition), None
    if result is None:
        return None
    row = reading.db.execute(
        "select pseudonym, appearance, grade from adjudications join readers on readers.number = adjudications.reader"
        " where case_number = ? and reads = ? order by adjudications.number desc limit 1",
        (case.number, json.dumps(reads.numbers)),
    ).fetchone()
    if result.undecided and row:
        adjudicator, appearance, grade = row
        result = adjudicate(
            result, definition, by=adjudicator, readers=reads.by_reader, appearance=appearance, grade=grade
        )
    if result.undecided:
        return None
    return Label(
        submission=case.submission,
        site_id=case.site_id,
        study=case.study,
        definition=definition.digest,
        result=result,
        reads=reads.by_reader,
        adjudicator=adjudicator,
    )


def all_labels(reading: Reading, definition: AnnotationDefinition) -> tuple[Label, ...]:
    """The labels of all films that have them and are neither withdrawn nor rejected."""
    cases = (*reading.cases(CaseState.LABELLED), *reading.cases(CaseState.RELEASED))
    return tuple(label for case in cases if (label := label_of(reading, case, definition)))
