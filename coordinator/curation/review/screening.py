"""The criteria once more, on what remains in the headers: age, plane, localizers, projection, body part, geometry."""

import json
from collections.abc import Iterator, Mapping

from coordinator.curation.opening import OpenedStudy
from coordinator.curation.review.verdict import CheckResult, Verdict
from shared.ids import Uid
from shared.protocol.criteria import Criteria
from site_node.screen.again import ScreenedFile, screen_again

Row = Mapping[str, str | int | float | None]


def check_screening(study: OpenedStudy, criteria: Criteria) -> Iterator[CheckResult]:
    """What the site's own rules say of the images and the clinical row that it sent; each with the site's code."""
    series = {instance.sop_instance_uid: instance.series_instance_uid for instance in study.contents.instances}
    files = [ScreenedFile(path, path.stem, series[Uid(path.stem)]) for path in study.instances]
    row, instances = read_row(study), dict[tuple[str, Verdict], list[Uid]]()
    reasons = dict[tuple[str, Verdict], str]()
    if row is None:
        yield _result(Verdict.WARN, "no-clinical-row", "It has no clinical row: nothing was compared with its headers.")
    for reason, uids in screen_again(files, criteria=criteria, clinical=row):
        key = reason.code, Verdict(reason.severity.value)
        reasons.setdefault(key, reason.message)
        instances.setdefault(key, []).extend(map(Uid, uids))
    for (code, verdict), message in reasons.items():
        yield _result(verdict, code, message, tuple(dict.fromkeys(instances[code, verdict])))


def read_row(study: OpenedStudy) -> Row | None:
    """The de-identified clinical row; `None` where there is none."""
    if study.clinical is None:
        return None
    row: Row = json.loads(study.clinical.read_bytes())
    return row


def _result(verdict: Verdict, code: str, reason: str, instances: tuple[Uid, ...] = ()) -> CheckResult:
    return CheckResult(check="screening", verdict=verdict, code=code, reason=reason, instances=instances)
