"""A new file and its source, part by part. What both share with the files before them was judged with those.

A part is an element of the top level with all that is in its items. The readers give one object for what is the same
bytes in file after file, so that a part of a series is judged once however many slices it has.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from shared.protocol.profile import Profile
from site_node.validate.conformance import Rules, check_part
from site_node.validate.elements import Document, Part, Run
from site_node.validate.finding import Finding
from site_node.validate.identifiers import charset_of
from site_node.validate.mapping import Condition, Fate, Patient, check_against_source, fates_of
from site_node.validate.presence import lacks_at
from site_node.validate.private import Places

_CLASS = 0x00080016


@dataclass
class Judged:
    """What is wrong with one part, and what became of its source."""

    new: Part
    old: Part
    form: tuple[Finding, ...]  # by itself
    against: tuple[Finding, ...]  # beside the source
    missing: tuple[Finding, ...]  # Type 1 and 2 that the source had
    fates: tuple[Fate, ...]
    since: int  # the number of the first file that had it

    @property
    def is_wrong(self) -> bool:
        """Whether anything was found."""
        return bool(self.form or self.against or self.missing)


class Pairs:
    """The judgements of one study's files."""

    def __init__(self, patient: Patient, rules: Rules) -> None:
        self._patient = patient
        self._rules = rules
        self._condition: Condition | None = None
        self._runs: dict[int, Run] = {}  # of the file before and its source
        self._known: dict[int, Judged] = {}
        self._wrong: dict[int, Judged] = {}
        self._fates: Counter[Fate] = Counter()
        self._files = 0

    def judge(self, new: Document, old: Document, private: Places) -> Mapping[int, Judged]:
        """The parts of a file in which something is wrong, by tag; `private` are its listed private elements."""
        condition = Condition(charset_of(old), private, new.first(_CLASS).decode("latin-1"))
        if condition != self._condition:
            self._condition, self._runs = condition, {}
            self._let_go(set(self._known))
        runs = {id(run): run for run in (*new.runs, *old.runs)}
        others = [run for key, run in runs.items() if key not in self._runs]
        others += [run for key, run in self._runs.items() if key not in runs]
        self._runs = runs
        for tag in {part[0].tag for run in others for part in run}:
            one, other = new.top.get(tag, ()), old.top.get(tag, ())
            judged = self._known.get(tag)
            if judged is None or judged.new is not one or judged.old is not other:
                self._let_go({tag} & self._known.keys())
                self._learn(tag, self._judge(tag, one, other, condition))
        self._files += 1
        return self._wrong

    def fates(self) -> Counter[Fate]:
        """What became of all elements of all sources; asked once, at the end."""
        self._let_go(set(self._known))
        return self._fates

    def _learn(self, tag: int, judged: Judged) -> None:
        self._known[tag] = judged
        if judged.is_wrong:
            self._wrong[tag] = judged

    def _judge(self, tag: int, new: Part, old: Part, condition: Condition) -> Judged:
        missing = {*lacks_at(tag, new, condition.sop_class)} - {*lacks_at(tag, old, condition.sop_class)}
        return Judged(
            new,
            old,
            tuple(check_part(new, self._rules, condition.private)),
            tuple(check_against_source(new, old, condition, self._patient, self._rules)),
            tuple(_missing(tag, self._rules.profile) for _, tag in sorted(missing)),
            fates_of(new, old, self._rules),
            self._files,
        )

    def _let_go(self, tags: set[int]) -> None:
        """Forget what the next file does not share, and count it for as many files as had it."""
        for tag in tags:
            judged = self._known.pop(tag)
            self._wrong.pop(tag, None)
            for fate in judged.fates:
                self._fates[fate] += self._files - judged.since


def _missing(tag: int, profile: Profile) -> Finding:
    rule = profile.by_tag.get(tag)
    return Finding(code="type-1-2", attribute=rule.keyword if rule else f"{tag >> 16:04x},{tag & 0xFFFF:04x}")
