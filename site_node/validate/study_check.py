"""One look at a de-identified study, or at part of it, beside its source, its profile and the site's key.

Findings name attributes and never quote a value.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from shared.errors.studies import DicomUnreadable
from shared.ids import Sha256
from shared.protocol.profile import Action
from site_node.blanking import Blanking
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import (
    Deidentified,
    DeidentifiedInstance,
    FileStamp,
    Included,
    Instance,
)
from site_node.validate.blanked import REWRITTEN, check_blanked, check_claim
from site_node.validate.comparison import StudyComparison
from site_node.validate.conformance import Rules, check_whole, name_of
from site_node.validate.content import Content, contents
from site_node.validate.elements import PIXEL_DATA, Document
from site_node.validate.finding import Finding
from site_node.validate.identifiers import Collector
from site_node.validate.mapping import ElementOutcome, make_patient, same_pixels
from site_node.validate.private import safe_elements
from site_node.validate.reader import PreviousFile, read_document
from site_node.validate.residual import OutputContent, search_clinical
from site_node.validate.search import Search
from site_node.validate.values import has_form, is_tolerable

_STUDY, _SERIES, _INSTANCE = 0x0020000D, 0x0020000E, 0x00080018


class FileCheck(NamedTuple):
    """The findings of one instance, and the SHA-256 of the new file that was checked."""

    findings: tuple[Finding, ...]
    sha256: Sha256 | None = None
    inherited: int = 0
    pixels: str = ""  # kept, changed or removed; empty where the source has none


class StudyCheck(NamedTuple):
    """What was found: of the study as a whole, of its files; each instance's check; elements by what became of them."""

    of_study: tuple[Finding, ...]
    of_files: tuple[Finding, ...]
    checks: Sequence[FileCheck]
    outcomes: Counter[ElementOutcome]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding once."""
        return tuple(dict.fromkeys((*self.of_study, *self.of_files)))


_Files = tuple[Content | OSError, Content | OSError]  # the source, the new file
_PreviousFiles = tuple[PreviousFile, PreviousFile]  # likewise


class _Study(NamedTuple):
    """What the instances of a study are checked with."""

    output: Deidentified
    comparison: StudyComparison
    rules: Rules
    collector: Collector
    content: OutputContent
    blank: Blanking | None


def check_study(
    source: Included,
    output: Deidentified,
    *,
    made: Collection[Path],
    rules: Rules,
    pseudonyms: Pseudonyms,
    blank: Blanking | None,
) -> StudyCheck:
    """Check the instances that `output` lists.

    Args:
        source: the study before de-identification, with its files.
        output: what de-identification made of it, or part of that; the other instances are left out.
        made: every file that de-identification made; others beside them are findings.
        rules: what the profile asks of the files.
        pseudonyms: the site's keyed identifiers.
        blank: what a person decided to blank; nothing else may be blanked.
    """
    of_study = [*_check_account(source, output, made), *_check_names(source, output, rules, pseudonyms)]
    identity = source.study.identity
    if identity is None:
        return StudyCheck((*of_study, Finding(code="no-identity")), (), [], Counter())
    patient = make_patient(pseudonyms, identity)
    if patient.pseudonym != output.patient:
        of_study.append(Finding(code="patient-mapping", attribute="PatientID"))
    kept_tags = frozenset(rule.tag for rule in rules.profile.rules if rule.action in {Action.KEEP, Action.DEVICE})
    collector = Collector(identity, kept_tags, rules.profile.date_tags)
    study = _Study(output, StudyComparison(patient, rules), rules, collector, OutputContent(rules), blank)
    files = contents(chain.from_iterable((instance.source.path, instance.path) for instance in output.instances))
    previous = PreviousFile(), PreviousFile()
    checks = [
        _check_instance(instance, (next(files), next(files)), previous, study, pseudonyms)
        for instance in output.instances
    ]
    written = {instance.source.path for instance in output.instances}
    for document in _readable([instance for instance in source.kept if instance.path not in written], rules):
        collector.add(document)
    search = Search(collector.identifiers(), rules)
    of_study += search_clinical(output.clinical or {}, search)
    outcomes = study.comparison.outcomes()
    outcomes.update((check.pixels, name_of(PIXEL_DATA, rules.profile)) for check in checks if check.pixels)
    of_files = (*chain.from_iterable(check.findings for check in checks), *study.content.search(search))
    return StudyCheck(tuple(of_study), of_files, checks, outcomes)


def _check_account(source: Included, output: Deidentified, made: Collection[Path]) -> Iterator[Finding]:
    """Every instance of the study is written or left out, once, and the output folder holds nothing else."""
    written = Counter(instance.source.path for instance in output.instances)
    left_out = Counter(entry.instance.path for entry in output.left_out)
    if written + left_out != Counter(instance.path for instance in source.study.instances):
        yield Finding(code="account")
    if not {entry.instance.path for entry in source.left_out} <= set(left_out) or not all(
        entry.reasons for entry in output.left_out
    ):
        yield Finding(code="account")
    folders = {instance.path.parent.parent for instance in output.instances}
    files = {path for folder in folders for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}
    if len(folders) > 1 or files.difference(made):
        yield Finding(code="extra-file")


def _check_names(source: Included, output: Deidentified, rules: Rules, pseudonyms: Pseudonyms) -> Iterator[Finding]:
    """Key, site, profile and the study's new UID belong to the study."""
    same = output.key == source.key and output.site_id == pseudonyms.site_id
    if not same or output.study_instance_uid != pseudonyms.uid(source.study.study_instance_uid):
        yield Finding(code="names", attribute="StudyInstanceUID")
    if output.profile_digest != rules.profile.digest:
        yield Finding(code="not-marked")


def _check_name(instance: DeidentifiedInstance, pseudonyms: Pseudonyms) -> Iterator[Finding]:
    """The new file lies under the new UIDs of its source."""
    original = instance.source
    series, name = pseudonyms.uid(original.series_instance_uid), pseudonyms.uid(original.sop_instance_uid)
    in_place = instance.path.parent.name == series and instance.path.name == f"{name}.dcm"
    if not in_place or (instance.series_instance_uid, instance.sop_instance_uid) != (series, name):
        yield Finding(code="names", attribute="SOPInstanceUID")


def _readable(instances: Iterable[Instance], rules: Rules) -> Iterator[Document]:
    """Sources without a new file, as far as they can be parsed: their identifiers count as well."""
    for instance in instances:
        try:
            yield read_document(instance.path.read_bytes(), rules.sequences)
        except (OSError, DicomUnreadable):
            continue


def _check_instance(
    instance: DeidentifiedInstance, files: _Files, previous: _PreviousFiles, study: _Study, pseudonyms: Pseudonyms
) -> FileCheck:
    before, after = files
    if isinstance(before, OSError) or not _is_as_received(before, instance.source):
        return FileCheck((Finding(code="source"),))
    try:
        original = read_document(before.data, study.rules.sequences, previous[0])
    except DicomUnreadable:
        return FileCheck((Finding(code="source"),))
    study.collector.add(original)
    if isinstance(after, OSError):
        return FileCheck((Finding(code="file"),))
    try:
        new = read_document(after.data, study.rules.sequences, previous[1])
    except DicomUnreadable as error:
        return FileCheck((Finding(code=error.fields.get("code", "structure")),))
    study.content.add(new)
    check = _compare(instance, new, original, study)
    findings = (*_check_name(instance, pseudonyms), *check.findings)
    if len(after.data) != instance.size:
        findings = (*findings, Finding(code="file"))
    return check._replace(sha256=after.sha256, findings=findings)


def _is_as_received(content: Content, source: Instance) -> bool:
    """Whether a source is what it was: our copy by its digest, a file that lies elsewhere by its stamp."""
    if source.stamp is None:
        return content.sha256 == source.sha256
    try:
        return FileStamp.of(source.path.stat()) == source.stamp
    except OSError:
        return False


def _compare(instance: DeidentifiedInstance, new: Document, original: Document, study: _Study) -> FileCheck:
    """A new file by itself and beside its source."""
    rules, boxes = study.rules, study.blank.of(instance.sop_instance_uid) if study.blank else ()
    private = safe_elements(new, rules.profile)
    parts = study.comparison.judge(new, original, private)
    forms = chain.from_iterable(part.form for part in parts.values())
    form = dict.fromkeys([*check_whole(new, rules, private), *forms])
    inherited = [finding for finding in form if finding.is_inheritable and _is_inherited(finding, new, original, rules)]
    findings = [
        *(finding for finding in form if finding not in inherited),
        *_check_claims(new, instance, study.output),
        *chain.from_iterable(part.against for tag, part in parts.items() if not (boxes and tag in REWRITTEN)),
        *chain.from_iterable(part.missing for part in parts.values()),
        *check_claim(new, original, blanked=bool(boxes)),
        *(check_blanked(new, original, instance.source.path, boxes) if boxes else _check_pixels(new, original)),
    ]
    pixels = "changed" if boxes else "removed" if new.fragments is None else "kept"
    return FileCheck(tuple(findings), inherited=len(inherited), pixels="" if original.fragments is None else pixels)


def _check_pixels(new: Document, original: Document) -> Iterator[Finding]:
    if not same_pixels(new, original):
        yield Finding(code="pixels", attribute="PixelData")


def _check_claims(new: Document, instance: DeidentifiedInstance, output: Deidentified) -> Iterator[Finding]:
    """The file holds the UIDs that its record says."""
    uids = {
        _STUDY: output.study_instance_uid,
        _SERIES: instance.series_instance_uid,
        _INSTANCE: instance.sop_instance_uid,
    }
    if any(new.first(tag).decode("latin-1") != uid for tag, uid in uids.items()):
        yield Finding(code="names", attribute="SOPInstanceUID")


def _is_inherited(finding: Finding, new: Document, original: Document, rules: Rules) -> bool:
    """Whether the source has a form error where a value was copied: then it is not ours, but text is no number."""
    before, after = (tuple(_forms_of(finding.attribute, document, rules)) for document in (original, new))
    if finding.code == "vr":
        return any(vr not in vrs for _, vr, vrs in before)
    is_malformed = any(not has_form(raw, vr) for raw, vr, _ in before)
    return finding.code == "value-form" and is_malformed and all(is_tolerable(raw, vr) for raw, vr, _ in after)


def _forms_of(keyword: str | None, document: Document, rules: Rules) -> Iterator[tuple[bytes, str, frozenset[str]]]:
    """The values of an attribute anywhere in a file, their representations, and those that the profile allows."""
    private = safe_elements(document, rules.profile)
    for element in document.elements:
        rule = rules.profile.by_tag.get(element.tag) or private.get((element.path, element.tag))
        if rule is not None and rule.keyword == keyword:
            yield element.raw, element.vr or (min(rule.vrs) if len(rule.vrs) == 1 else ""), rule.vrs
