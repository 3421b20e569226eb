"""Every reason why a study, file or request does not go on: `reasons.toml`, by code.

A code stands in ledgers and reports, so it never changes. Its sentence and advice hold no patient's value. What ends a
study for an error of `shared.errors` bears that error's code and sentence, which are not repeated here.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import NamedTuple

from site_node.study import Ending, Reason, Severity

_UNKNOWN = "This release has no sentence for this code."
_FIXED = {
    "warn": Severity.WARN,
    "review": Severity.REVIEW,
    "reject": Severity.REJECT,
}  # by heading; under the others the caller says it


_PERMANENT = "pacs-permanent"  # the heading of failures that another try does not mend
_NUMBERED = ("pacs-status-", "pacs-http-")  # codes that end with a status; the longest prefix in the file explains it


class Meaning(NamedTuple):
    """What a code says: what happened, what the hospital can do, and the severity unless the caller names another."""

    sentence: str
    advice: str
    severity: Severity | None
    is_permanent: bool = False


@cache
def catalogue() -> Mapping[str, Meaning]:
    """The meaning of every code, in the file's order."""
    headings: dict[str, dict[str, tuple[str, str]]] = tomllib.loads(
        files("site_node").joinpath("reasons.toml").read_text(encoding="utf-8")
    )
    return MappingProxyType(
        {
            code: Meaning(sentence, advice, _FIXED.get(heading), is_permanent=heading == _PERMANENT)
            for heading, codes in headings.items()
            for code, (sentence, advice) in codes.items()
        }
    )


def reason_for(code: str, *, attribute: str | None = None, severity: Severity | None = None) -> Reason:
    """The reason with this code, as grave as the catalogue says unless `severity` is given.

    Raises `KeyError` for a code that the catalogue lacks, `ValueError` if neither says how grave it is.
    """
    meaning = catalogue()[code]
    severity = severity or meaning.severity
    if severity is None:
        raise ValueError(f"{code} has no severity of its own")
    return Reason(code=code, message=meaning.sentence, severity=severity, attribute=attribute)


def ending_of(reason: Reason) -> Ending:
    """Where a file or study ends that is stopped for this reason by anything but the criteria."""
    return Ending.QUARANTINED if reason.severity is Severity.REVIEW else Ending.REFUSED


def sentence_of(code: str) -> str:
    """What happened; also for a code that another release wrote."""
    return _meaning(code).sentence


def advice_for(code: str) -> str:
    """What the hospital can do; empty for a code that the catalogue lacks."""
    return _meaning(code).advice


def is_permanent(code: str) -> bool:
    """Whether a request to a PACS that failed so fails again until somebody changes something."""
    return _meaning(code).is_permanent


def explanation_of(code: str) -> str:
    """What happened and what the hospital can do, for a line on the terminal."""
    return f"{sentence_of(code)} {advice_for(code)}".rstrip()


def _meaning(code: str) -> Meaning:
    known = catalogue()
    if code.startswith(_NUMBERED):
        code = next((code[:end] for end in range(len(code), 0, -1) if code[:end] in known), code)
    return known.get(code, Meaning(_UNKNOWN, "", None))
