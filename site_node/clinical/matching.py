"""Unmatched rows and studies. No identifier is in the answer: rows are listed by number, studies by key."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

from shared.durable import write_whole
from shared.frozen import Frozen
from shared.ids import StudyKey
from site_node.clinical.sheet import ClinicalSheet, best_key
from site_node.study import ClinicalRow, NoRowReason

_UNUSED = frozenset({"no-key", "duplicate-row", "heading-row"})  # problems that exclude a row from matching
_NAME_DIGITS = 12  # shown of a sheet's name, a digest
_BY_DETAIL = (
    NoRowReason.NO_ROW,
    NoRowReason.OTHER_EXAM,
    NoRowReason.KEYS_DISAGREE,
    NoRowReason.SEVERAL_ROWS,
)  # the last is the most informative


class UnmatchedRow(Frozen):
    """A row that joins no study: `no-study`, `keys-disagree`, or why it cannot be used at all."""

    sheet: str
    row: int
    code: str


class UnmatchedStudy(Frozen):
    """A study that joins no row, and why."""

    study: StudyKey
    code: NoRowReason


class Unmatched(Frozen):
    """Every row and every study without its counterpart."""

    rows: tuple[UnmatchedRow, ...]
    studies: tuple[UnmatchedStudy, ...]


@dataclass(frozen=True)
class KnownStudy:
    """A study of the home: its keys while its files are here; later `None`, and whether it had a row."""

    key: StudyKey
    keys: Mapping[str, str] | None = field(repr=False)
    joined: bool = False


def unmatched(
    sheets: Sequence[tuple[str, ClinicalSheet]],
    studies: Iterable[KnownStudy],
    *,
    was_joined: Callable[[ClinicalRow], bool] = lambda _row: False,
) -> Unmatched:
    """List both sides.

    Args:
        sheets: name and content of every sheet, the latest first; a row that a later sheet repeats is not listed again.
        studies: every study of the home.
        was_joined: whether a row once joined a study whose files are deleted.
    """
    used: set[tuple[str, int]] = set()
    near: set[tuple[str, int]] = set()
    without_row: list[UnmatchedStudy] = []
    for study in studies:
        if study.keys is None:
            without_row += [] if study.joined else [UnmatchedStudy(study=study.key, code=NoRowReason.NO_ROW)]
            continue
        match = match_row(study.keys, [sheet for _, sheet in sheets])
        if isinstance(match, NoRowReason):
            without_row.append(UnmatchedStudy(study=study.key, code=match))
            if match is NoRowReason.KEYS_DISAGREE:
                near.update((name, row.row) for name, sheet in sheets for row in sheet.rows_near(study.keys))
        else:
            at, row = match
            used.add((sheets[at][0], row.row))
    return Unmatched(rows=tuple(_unmatched_rows(sheets, used, near, was_joined)), studies=tuple(without_row))


def match_row(keys: Mapping[str, str], sheets: Sequence[ClinicalSheet]) -> tuple[int, ClinicalRow] | NoRowReason:
    """The row of a study and the index of its sheet, from the first sheet that has one; or why there is none."""
    reasons = set()
    for at, sheet in enumerate(sheets):
        rows = sheet.rows_for(keys)
        if len(rows) == 1:
            return at, rows[0]
        reasons.add(_no_row_reason(keys, sheet, rows))
    return max(reasons, key=_BY_DETAIL.index, default=NoRowReason.NO_ROW)


def _no_row_reason(keys: Mapping[str, str], sheet: ClinicalSheet, rows: Sequence[ClinicalRow]) -> NoRowReason:
    if rows or not sheet.doubled.isdisjoint(keys.items()):
        return NoRowReason.SEVERAL_ROWS
    if sheet.rows_near(keys):
        return NoRowReason.KEYS_DISAGREE
    return NoRowReason.OTHER_EXAM if sheet.rows_of_patient(keys) else NoRowReason.NO_ROW


def _unmatched_rows(
    sheets: Sequence[tuple[str, ClinicalSheet]],
    used: AbstractSet[tuple[str, int]],
    near: AbstractSet[tuple[str, int]],
    was_joined: Callable[[ClinicalRow], bool],
) -> Iterator[UnmatchedRow]:
    repeated: set[tuple[str, str]] = set()
    for name, sheet in sheets:
        later = frozenset(repeated)
        codes = {problem.row: problem.code for problem in sheet.problems if problem.code in _UNUSED}
        for row in sheet.rows:
            repeated.add(best_key(row))
            if (name, row.row) not in used and best_key(row) not in later and not was_joined(row):
                codes[row.row] = "keys-disagree" if (name, row.row) in near else "no-study"
        yield from (UnmatchedRow(sheet=name[:_NAME_DIGITS], row=at, code=code) for at, code in sorted(codes.items()))


class JoinedRows:
    """Which study joined which row, kept for when the study's files are deleted; a salted token identifies the row."""

    def __init__(self, folder: Path, token: Callable[[str], str]) -> None:
        self._folder = folder
        self._token = token

    def note(self, study: StudyKey, row: ClinicalRow | None) -> None:
        """Note the row that a study has now, or that it has none."""
        file = self._folder / study
        if row is None:
            file.unlink(missing_ok=True)
            return
        self._folder.mkdir(mode=0o700, exist_ok=True)
        write_whole(file, self.token_of(row).encode(), mode=0o600)

    def has(self, study: StudyKey) -> bool:
        """Whether the study had its row when it was last screened."""
        return (self._folder / study).exists()

    def tokens(self) -> frozenset[str]:
        """The tokens of all rows noted."""
        files = self._folder.iterdir() if self._folder.is_dir() else ()
        return frozenset(file.read_text(encoding="ascii") for file in files if not file.name.startswith("."))

    def token_of(self, row: ClinicalRow) -> str:
        """The token of the key that the row joins by."""
        return self._token("clinical row " + "=".join(best_key(row)))
