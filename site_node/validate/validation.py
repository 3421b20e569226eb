"""The stage: a de-identified study is held against its source, its profile and the site's key, or stopped.

A finding anywhere stops the whole study. What is found is named, never quoted.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from shared.errors import DicomUnreadable
from shared.ids import Sha256, Uid
from shared.protocol.profile import Action, Profile
from site_node.blanking import Blanking
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Deidentified, DeidentifiedInstance, Ending, Included, Instance, Refused, Validated
from site_node.validate.blanked import REWRITTEN, check_blanked, check_claim
from site_node.validate.comparison import Pairs
from site_node.validate.conformance import Rules, check_whole, make_rules, name_of
from site_node.validate.content import Content, contents
from site_node.validate.elements import PIXEL_DATA, Document, Known, read_document
from site_node.validate.finding import INHERITABLE, Finding
from site_node.validate.identifiers import Collector
from site_node.validate.mapping import Fate, make_patient, same_pixels
from site_node.validate.private import safe_elements
from site_node.validate.report import make_report, write_report
from site_node.validate.residual import Leftovers, make_search, search_clinical
from site_node.validate.values import has_form, is_tolerable

_STUDY, _SERIES, _INSTANCE = 0x0020000D, 0x0020000E, 0x00080018


class _Seen(NamedTuple):
    """What the checks of one instance gave, and the SHA-256 of the new file that they were made on."""

    findings: tuple[Finding, ...]
    sha256: Sha256 | None = None
    inherited: int = 0
    pixels: str = ""  # kept, changed or removed; empty where the source has none


_Files = tuple[Content | OSError, Content | OSError]  # the source and the new one
_Known = tuple[Known, Known]  # likewise


class _Study(NamedTuple):
    """What the instances of a study are checked with."""

    output: Deidentified
    pairs: Pairs
    rules: Rules
    collector: Collector
    leftovers: Leftovers
    blank: Blanking | None


def validate(
    source: Included,
    output: Deidentified,
    *,
    profile: Profile,
    pseudonyms: Pseudonyms,
    report: Path,
    blank: Blanking | None = None,
    searched: bool | None = None,
) -> Validated | Refused:
    """Check a de-identified study and write its report.

    Args:
        source: the study as it was before, with its files.
        output: what de-identification made of it.
        profile: the profile it was made by.
        pseudonyms: the site's keyed identifiers.
        report: where the report is written, mode 0600.
        blank: what a person decided to blank, and nothing else may have been.
        searched: whether the pixels were searched for text before; only the report says it. `None`: not known.

    Returns:
        `Validated` with the report's SHA-256, or `Refused` with a reason for each finding.
    """
    found, seen, fates = _check(source, output, make_rules(profile, output.site_id), pseudonyms, blank)
    findings = tuple(dict.fromkeys(found))
    now = datetime.now(UTC)
    written = make_report(
        output,
        profile,
        findings=findings,
        fates=fates,
        inherited=sum(one.inherited for one in seen),
        checked_at=now,
        boxes=[box for one in output.instances for box in (blank.of(one.sop_instance_uid) if blank else ())],
        searched=searched,
    )
    digest = write_report(report, written)
    if findings:
        reasons = tuple(finding.reason for finding in findings)
        return Refused(key=output.key, ending=Ending.REFUSED, reasons=reasons)
    checked = zip(output.instances, seen, strict=True)
    digests: dict[Uid, Sha256] = {one.sop_instance_uid: of.sha256 for one, of in checked if of.sha256}
    return Validated(study=output, digests=digests, report_sha256=digest, checked_at=now)


def _check(
    source: Included, output: Deidentified, rules: Rules, pseudonyms: Pseudonyms, blank: Blanking | None
) -> tuple[list[Finding], list[_Seen], Counter[Fate]]:
    findings = [*_check_account(source, output), *_check_names(source, output, rules, pseudonyms)]
    identity = source.study.identity
    if identity is None:
        return [*findings, Finding(code="no-identity")], [], Counter()
    patient = make_patient(pseudonyms, identity)
    if patient.pseudonym != output.patient:
        findings.append(Finding(code="patient-mapping", attribute="PatientID"))
    kept = frozenset(rule.tag for rule in rules.profile.rules if rule.action is Action.KEEP)
    collector = Collector(identity, kept, rules.profile.dated)
    study = _Study(output, Pairs(patient, rules), rules, collector, Leftovers(rules), blank)
    files = contents(chain.from_iterable((one.source.path, one.path) for one in output.instances))
    known = Known(), Known()
    seen = [_check_instance(one, (next(files), next(files)), known, study) for one in output.instances]
    gone = {one.source.path for one in output.instances}
    for document in _readable([one for one in source.kept if one.path not in gone], rules):
        collector.add(document)
    search = make_search(collector.found(), rules)
    findings += chain.from_iterable(one.findings for one in seen)
    findings += study.leftovers.search(search)
    fates = study.pairs.fates()
    fates.update((one.pixels, name_of(PIXEL_DATA, rules.profile)) for one in seen if one.pixels)
    return [*findings, *search_clinical(output.clinical or {}, search)], seen, fates


def _check_account(source: Included, output: Deidentified) -> Iterator[Finding]:
    """Every instance of the study is written or left out, once, and the output folder holds nothing else."""
    written = Counter(one.source.path for one in output.instances)
    left_out = Counter(one.instance.path for one in output.left_out)
    if written + left_out != Counter(one.path for one in source.study.instances):
        yield Finding(code="account")
    if not {one.instance.path for one in source.left_out} <= set(left_out) or not all(
        one.reasons for one in output.left_out
    ):
        yield Finding(code="account")
    folders = {one.path.parent.parent for one in output.instances}
    there = {path for folder in folders for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}
    if len(folders) > 1 or there - {one.path for one in output.instances}:
        yield Finding(code="extra-file")


def _check_names(source: Included, output: Deidentified, rules: Rules, pseudonyms: Pseudonyms) -> Iterator[Finding]:
    """Key, site, profile and new UIDs are the study's own."""
    same = output.key == source.key and output.site_id == pseudonyms.site_id
    if not same or output.study_instance_uid != pseudonyms.uid(source.study.study_instance_uid):
        yield Finding(code="names", attribute="StudyInstanceUID")
    if output.profile_digest != rules.profile.digest:
        yield Finding(code="not-marked")
    for one in output.instances:
        series, name = pseudonyms.uid(one.source.series_instance_uid), pseudonyms.uid(one.source.sop_instance_uid)
        stands = one.path.parent.name == series and one.path.name == f"{name}.dcm"
        if not stands or (one.series_instance_uid, one.sop_instance_uid) != (series, name):
            yield Finding(code="names", attribute="SOPInstanceUID")


def _readable(instances: Iterable[Instance], rules: Rules) -> Iterator[Document]:
    """Sources of which nothing was written: their identifiers count as well."""
    for instance in instances:
        try:
            yield read_document(instance.path.read_bytes(), rules.sequences)
        except (OSError, DicomUnreadable):
            continue


def _check_instance(one: DeidentifiedInstance, files: _Files, known: _Known, study: _Study) -> _Seen:
    before, after = files
    if isinstance(before, OSError) or before.sha256 != one.source.sha256:
        return _Seen((Finding(code="source"),))
    try:
        original = read_document(before.data, study.rules.sequences, known[0])
    except DicomUnreadable:
        return _Seen((Finding(code="source"),))
    study.collector.add(original)
    if isinstance(after, OSError):
        return _Seen((Finding(code="file"),))
    try:
        new = read_document(after.data, study.rules.sequences, known[1])
    except DicomUnreadable as error:
        return _Seen((Finding(code=error.fields.get("code", "structure")),))
    study.leftovers.add(new)
    seen = _compare(one, new, original, study)
    as_told = len(after.data) == one.size
    return seen._replace(
        sha256=after.sha256, findings=seen.findings if as_told else (*seen.findings, Finding(code="file"))
    )


def _compare(one: DeidentifiedInstance, new: Document, original: Document, study: _Study) -> _Seen:
    """A new file by itself and beside its source."""
    rules, boxes = study.rules, study.blank.of(one.sop_instance_uid) if study.blank else ()
    private = safe_elements(new, rules.profile)
    parts = study.pairs.judge(new, original, private)
    form = dict.fromkeys([*check_whole(new, rules, private), *chain.from_iterable(one.form for one in parts.values())])
    inherited = [finding for finding in form if finding.code in INHERITABLE and _had_it(finding, original, rules)]
    findings = [
        *(finding for finding in form if finding not in inherited),
        *_check_claims(new, one, study.output),
        *chain.from_iterable(part.against for tag, part in parts.items() if not (boxes and tag in REWRITTEN)),
        *chain.from_iterable(part.missing for part in parts.values()),
        *check_claim(new, original, blanked=bool(boxes)),
        *(check_blanked(new, original, one.source.path, boxes) if boxes else _check_pixels(new, original)),
    ]
    pixels = "changed" if boxes else "removed" if new.fragments is None else "kept"
    return _Seen(tuple(findings), inherited=len(inherited), pixels="" if original.fragments is None else pixels)


def _check_pixels(new: Document, original: Document) -> Iterator[Finding]:
    if not same_pixels(new, original):
        yield Finding(code="pixels", attribute="PixelData")


def _check_claims(new: Document, one: DeidentifiedInstance, output: Deidentified) -> Iterator[Finding]:
    """The file holds the UIDs that its record says."""
    claims = {_STUDY: output.study_instance_uid, _SERIES: one.series_instance_uid, _INSTANCE: one.sop_instance_uid}
    if any(new.first(tag).decode("latin-1") != uid for tag, uid in claims.items()):
        yield Finding(code="names", attribute="SOPInstanceUID")


def _had_it(finding: Finding, original: Document, rules: Rules) -> bool:
    """Whether the source has the same form error: then it is not ours, and what stands there was copied."""
    for element in original.elements:
        rule = rules.profile.by_tag.get(element.tag)
        if rule is None or rule.keyword != finding.attribute:
            continue
        vr = element.vr or (min(rule.vrs) if len(rule.vrs) == 1 else "")
        if (finding.code == "vr" and vr not in rule.vrs) or (
            finding.code == "value-form" and not has_form(element.raw, vr) and is_tolerable(element.raw, vr)
        ):
            return True
    return False
