"""A study's report as a page in Markdown, which an officer reads, prints and signs."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from pydicom.datadict import keyword_for_tag

from site_node.validate.finding import Finding
from site_node.validate.report import Report

_SEARCHED = {
    True: "searched before this validation, in the frames that may show any",
    False: "NOT searched: the search is switched off, so that text in the pixels leaves with the images",
    None: "not told to the validator",
}
_TAG = re.compile(r"[0-9a-f]{4},[0-9a-f]{4}")
_RULE = "_" * 32


class ReviewDecision(NamedTuple):
    """A person's decision on the study, from the home's audit log."""

    at: datetime
    actor: str
    action: str
    detail: str


def to_markdown(content: bytes, decisions: Iterable[ReviewDecision] = ()) -> str:
    """The page for a report file's content; it shows the file's digest, so that a signature binds to the file.

    Raises `ValidationError` where the content is not a report.
    """
    report = Report.model_validate_json(content)
    parts = (
        ["# De-identification of one study", ""],
        _facts(report, hashlib.sha256(content).hexdigest()),
        _pixels(report),
        _counts("Removed", "The element is gone.", report.removed),
        _counts("Changed", "Replaced, shifted, shortened or emptied.", report.changed),
        _counts("Kept", "As in the source.", report.kept),
        _counts("Left out", "Files of the study that were not written, by reason.", report.left_out),
        _list("What was checked", report.checks),
        _list("What was found", [_finding_line(finding) for finding in report.findings]),
        _list("What persons decided", [_decision_line(decision) for decision in decisions]),
        _signature(),
    )
    return "\n".join(line for part in parts for line in part)


def _facts(report: Report, digest: str) -> Sequence[str]:
    rows = (
        ("Outcome", report.outcome.upper()),
        ("Study", report.study),
        ("Patient", report.patient),
        ("Site", report.site_id),
        ("Checked", f"{report.checked_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("Profile", f"{report.profile} {report.profile_edition}"),
        ("Profile digest", report.profile_digest),
        ("Words that the site accepted", f"{report.accepted_words}, of the list of version {report.accepted_version}"),
        ("Digest of that list", report.accepted_digest),
        ("Software", f"ricord-federation {report.software or 'of an earlier release'}"),
        ("Files written", f"{report.instances} ({report.bytes_written} bytes)"),
        ("Form errors that the source has as well", report.form_errors_of_the_source),
        ("SHA-256 of the report file", digest),
    )
    return ["All identifiers below are new ones. No value of an attribute stands here.", "", *_table(("", ""), rows)]


def _pixels(report: Report) -> Sequence[str]:
    blanked = f"{report.blanked_boxes} in {report.blanked_frames} frames" if report.blanked_boxes else "none"
    rows = (("Text burned into pixels", _SEARCHED[report.pixels_searched]), ("Blanked boxes", blanked))
    return ["## Pixels", "", *_table(("", ""), rows)]


def _counts(title: str, meaning: str, counts: dict[str, int]) -> Sequence[str]:
    named = ((_keyword(name), count) for name, count in counts.items())
    rows = sorted(named, key=lambda row: (-row[1], row[0]))
    head = [f"## {title}: {sum(counts.values())}", "", meaning, ""]
    return [*head, *(_table(("What", "Times"), rows) if rows else ())]


def _keyword(name: str) -> str:
    """The Standard's keyword of an attribute that the profile does not name; anything else unchanged."""
    if _TAG.fullmatch(name):
        return keyword_for_tag(int(name.replace(",", ""), 16)) or name
    return "private elements" if name == "private" else name


def _list(title: str, lines: Sequence[str]) -> Sequence[str]:
    return [f"## {title}", "", *([f"- {line}" for line in lines] or ["Nothing."]), ""]


def _finding_line(finding: Finding) -> str:
    return f"{finding.code}{f' ({finding.attribute})' if finding.attribute else ''}: {finding.sentence}"


def _decision_line(decision: ReviewDecision) -> str:
    return _plain(f"{decision.at:%Y-%m-%d %H:%M} {decision.actor}: {decision.action} - {decision.detail}")


def _signature() -> Sequence[str]:
    lines = (f"{what}: {_RULE}" for what in ("Name and role", "Date", "Signature"))
    return ["## Signature", "", "I have read this report.", "", *(part for line in lines for part in (line, "")), ""]


def _table(heads: tuple[str, str], rows: Iterable[tuple[str, object]]) -> Sequence[str]:
    lines = (f"| {_plain(name)} | {_plain(str(value))} |" for name, value in rows)
    return [f"| {heads[0]} | {heads[1]} |", "|---|---|", *lines, ""]


def _plain(text: str) -> str:
    """Text that cannot end its cell or line."""
    return " ".join(text.replace("|", "/").split())
