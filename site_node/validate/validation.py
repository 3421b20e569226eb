"""The stage: a de-identified study is checked against its source, its profile and the site's key.

A finding in a file costs that file: the study is looked at again in parts until the files at fault are known. What
passes is checked once more together, since a study must hold as a whole. A finding of the whole study stops all of it.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from shared.protocol.accepted import NONE_ACCEPTED, AcceptedList
from shared.protocol.profile import Profile
from site_node.blanking import Blanking
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.reasons import reason_for
from site_node.study import (
    Deidentified,
    DeidentifiedInstance,
    Ending,
    Included,
    LeftOut,
    Refused,
    Severity,
    Validated,
)
from site_node.validate.conformance import make_rules
from site_node.validate.report import make_report, write_report
from site_node.validate.study_check import StudyCheck, check_study

_MOST_CHECKS = 24  # of parts of one study
_Check = Callable[[Deidentified], StudyCheck]
_Instances = Sequence[DeidentifiedInstance]


def validate(
    source: Included,
    output: Deidentified,
    *,
    profile: Profile,
    pseudonyms: Pseudonyms,
    report: Path,
    blank: Blanking | None = None,
    searched: bool | None = None,
    accepted: AcceptedList = NONE_ACCEPTED,
) -> Validated | Refused:
    """Check a de-identified study and write its report.

    Args:
        source: the study before de-identification, with its files.
        output: what de-identification made of it.
        profile: the profile that it applied.
        pseudonyms: the site's keyed identifiers.
        report: where the report is written, mode 0600.
        blank: what a person decided to blank; nothing else may be blanked.
        searched: whether the pixels were searched for text before, for the report. `None`: not known.
        accepted: the site's list as it stood when the study was de-identified. Of it those words count that the study
            lists, since the curator knows no others.

    Returns:
        `Validated` with the report's SHA-256 and the study as it may go on, files with findings left out; or `Refused`
        with a reason for each finding where nothing may.
    """
    check = partial(
        check_study,
        source,
        made=frozenset(instance.path for instance in output.instances),
        rules=make_rules(profile, output.site_id, accepted.words.intersection(output.accepted)),
        pseudonyms=pseudonyms,
        blank=blank,
    )
    checked = check(output)
    if checked.of_files and not checked.of_study and len(output.instances) > 1:
        output, checked = _without_files_at_fault(output, checked, check)
    findings, now = checked.findings, datetime.now(UTC)
    written = make_report(
        output,
        profile,
        findings=findings,
        outcomes=checked.outcomes,
        inherited=sum(file.inherited for file in checked.checks),
        checked_at=now,
        boxes=[box for instance in output.instances for box in (blank.of(instance.sop_instance_uid) if blank else ())],
        searched=searched,
        accepted=accepted,
    )
    digest = write_report(report, written)
    if findings:
        return Refused(key=output.key, ending=Ending.REFUSED, reasons=tuple(finding.reason for finding in findings))
    files = zip(output.instances, checked.checks, strict=True)
    digests = {instance.sop_instance_uid: file.sha256 for instance, file in files if file.sha256}
    return Validated(study=output, digests=digests, report_sha256=digest, checked_at=now)


def _without_files_at_fault(
    output: Deidentified, checked: StudyCheck, check: _Check
) -> tuple[Deidentified, StudyCheck]:
    """The study without the files that have findings, and its check; as it is where no file passes."""
    count, passing, at_fault = 1, set[Path](), list[LeftOut]()
    parts = _halves(output.instances)
    while parts:
        part, count = parts.pop(), count + 1
        findings = check(_part(output, part)).findings
        if not findings:
            passing |= {instance.path for instance in part}
        elif len(part) == 1 or count >= _MOST_CHECKS:
            reasons = tuple(finding.reason for finding in findings)
            at_fault += [LeftOut(instance=file.source, ending=Ending.REFUSED, reasons=reasons) for file in part]
        else:
            parts += _halves(part)
    if not passing:
        return output, checked
    kept = tuple(instance for instance in output.instances if instance.path in passing)
    reduced = output.model_copy(update={"instances": kept, "left_out": (*output.left_out, *at_fault)})
    return reduced, check(reduced)


def _part(output: Deidentified, instances: Collection[DeidentifiedInstance]) -> Deidentified:
    """The study reduced to some of its instances; the others count as left out."""
    paths = {instance.path for instance in instances}
    waits = (reason_for("whole-study", severity=Severity.ACCEPT),)
    others = (
        LeftOut(instance=instance.source, ending=Ending.WAITING, reasons=waits)
        for instance in output.instances
        if instance.path not in paths
    )
    return output.model_copy(update={"instances": tuple(instances), "left_out": (*output.left_out, *others)})


def _halves(instances: _Instances) -> list[_Instances]:
    """By series while there are several, then in two; one instance stays as it is."""
    series: dict[str, list[DeidentifiedInstance]] = {}
    for instance in instances:
        series.setdefault(instance.series_instance_uid, []).append(instance)
    if len(series) > 1:
        return list(series.values())
    middle = len(instances) // 2
    return [part for part in (instances[:middle], instances[middle:]) if part]
