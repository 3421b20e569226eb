"""A new file beside its source, part by part. What both share with the previous files was judged with those.

A part is a top-level element with everything in its items. The reader gives the same object for the same bytes in file
after file, so that a part that all slices of a series share is judged once.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from site_node.validate.characters import charset_of
from site_node.validate.codes import with_public_codes
from site_node.validate.conformance import Rules, check_part, name_of
from site_node.validate.elements import Document, Part, Run
from site_node.validate.finding import Finding
from site_node.validate.mapping import Condition, ElementOutcome, Patient, check_against_source, outcomes_of
from site_node.validate.presence import missing_in
from site_node.validate.private import PrivateRules

_CLASS, _STUDY_DATE, _BIRTH_DATE = 0x00080016, 0x00080020, 0x00100030


@dataclass
class PartJudgement:
    """What is wrong with one part, and what became of the elements of its source."""

    new: Part
    old: Part
    form: tuple[Finding, ...]  # by itself
    against: tuple[Finding, ...]  # beside the source
    missing: tuple[Finding, ...]  # Type 1 and 2 that the source had
    outcomes: tuple[ElementOutcome, ...]
    since: int  # the number of the first file that has it

    @property
    def is_wrong(self) -> bool:
        """Whether there is any finding."""
        return bool(self.form or self.against or self.missing)


class StudyComparison:
    """The judgements of one study's files."""

    def __init__(self, patient: Patient, rules: Rules) -> None:
        self._patient = patient
        self._rules = rules
        self._condition: Condition | None = None
        self._runs: dict[int, Run] = {}  # of the previous file and its source
        self._judgements: dict[int, PartJudgement] = {}
        self._wrong: dict[int, PartJudgement] = {}
        self._outcomes: Counter[ElementOutcome] = Counter()
        self._files = 0

    def judge(self, new: Document, old: Document, private: PrivateRules) -> Mapping[int, PartJudgement]:
        """The parts of a file in which something is wrong, by tag; `private` are its listed private elements."""
        condition = Condition(
            charset_of(old),
            charset_of(new),
            private,
            new.first(_CLASS).decode("latin-1"),
            (old.first(_BIRTH_DATE), old.first(_STUDY_DATE)),
        )
        if condition != self._condition:
            self._condition, self._runs = condition, {}
            self._forget(set(self._judgements))
        runs = {id(run): run for run in (*new.runs, *old.runs)}
        changed = [run for key, run in runs.items() if key not in self._runs]
        changed += [run for key, run in self._runs.items() if key not in runs]
        self._runs = runs
        for tag in {part[0].tag for run in changed for part in run}:
            new_part, old_part = new.top.get(tag, ()), old.top.get(tag, ())
            judgement = self._judgements.get(tag)
            if judgement is None or judgement.new is not new_part or judgement.old is not old_part:
                self._forget({tag} & self._judgements.keys())
                self._remember(tag, self._judge(tag, new_part, old_part, condition))
        self._files += 1
        return self._wrong

    def outcomes(self) -> Counter[ElementOutcome]:
        """What became of all elements of all sources; asked once, at the end."""
        self._forget(set(self._judgements))
        return self._outcomes

    def _remember(self, tag: int, judgement: PartJudgement) -> None:
        self._judgements[tag] = judgement
        if judgement.is_wrong:
            self._wrong[tag] = judgement

    def _judge(self, tag: int, new: Part, old: Part, condition: Condition) -> PartJudgement:
        missing = {*missing_in(tag, new, condition.sop_class)} - {*missing_in(tag, old, condition.sop_class)}
        known = with_public_codes(old, self._rules.profile.vocabulary.rules.scheme_forms, condition.charset)
        return PartJudgement(
            new,
            old,
            tuple(check_part(new, self._rules, condition.private, condition.new_charset)),
            tuple(check_against_source(new, known, condition, self._patient, self._rules)),
            tuple(
                Finding(code="type-1-2", attribute=name_of(absent, self._rules.profile))
                for _, absent in sorted(missing)
            ),
            outcomes_of(new, old, self._rules),
            self._files,
        )

    def _forget(self, tags: set[int]) -> None:
        """Forget what the next file does not share, and count its outcomes for each file that had it."""
        for tag in tags:
            judgement = self._judgements.pop(tag)
            self._wrong.pop(tag, None)
            for outcome in judgement.outcomes:
                self._outcomes[outcome] += self._files - judgement.since
