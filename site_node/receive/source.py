"""The files of a source: a folder however deep, a zip archive, or the files that a DICOMDIR names.

Where a DICOMDIR is, files and index are compared both ways: a file that it names and that is missing is refused by
name, in a folder or an archive, and so is one that it does not name where the DICOMDIR itself is the source.

Each file is a `Candidate`, in a stable order: its name below the source and a way to open it, or the code of the reason
why it is not opened. Nothing outside the source is ever read: links are not followed, and a name that leads out is
refused.
"""

import errno
import os
import re
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from shared.errors.inputs import SourceMissing

_ENCRYPTED = 0x1  # general purpose flag, bit 0 (APPNOTE 4.4.4)
_MEMBER = b"PK\x03\x04"  # with which an archive begins
_HARMLESS, _MOST_RATIO, _MOST_UNPACKED = 1 << 30, 100, 1 << 40  # bytes, unpacked to packed, bytes: of whole archives
_VERSION = re.compile(r"(;\d+)?\.?$")  # that ISO 9660 ends a file's name with
_EXTENSION = re.compile(r"\.(dcm|dicom|dic|ima)$")


@dataclass(frozen=True)
class Candidate:
    """A file that may be DICOM. `name` is relative to the source (`archive.zip!member` inside one): PHI."""

    name: str = field(repr=False)
    open: Callable[[], IO[bytes]] | None = None
    refusal: str | None = None  # a code of the catalogue of reasons; then there is nothing to open
    path: Path | None = field(default=None, repr=False)  # the file, or the archive that it is a member of
    member: int | None = None  # its index in the archive's directory


def candidates(source: Path) -> Iterator[Candidate]:
    """Every file in `source`; raises `SourceMissing` when it does not exist or cannot be read."""
    try:
        root = source.resolve(strict=True)
        if root.is_dir():
            os.scandir(root).close()
        else:
            root.open("rb").close()
    except (OSError, RuntimeError) as error:
        raise SourceMissing(source=str(source)) from error
    return _folder(root, root) if root.is_dir() else _single(root)


def count_files(source: Path) -> int:
    """How many files `candidates` has of a source; raises what it raises."""
    return sum(1 for _ in candidates(source))


def _single(file: Path) -> Iterator[Candidate]:
    if _is_index(file):
        yield from _dicomdir(file)
    elif _is_archive(file):
        yield from _archive(file, file.name)
    else:
        yield _plain(file.name, file)


def _folder(folder: Path, root: Path) -> Iterator[Candidate]:
    """Every file below `folder`, by name; a folder that cannot be listed is itself a refused name."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        yield Candidate(_name(folder, root), refusal="unreadable")
        return
    for entry in entries:
        if entry.is_file(follow_symlinks=False) and _is_index(Path(entry.path)):
            yield from _missing(Path(entry.path), root)
    for entry in entries:
        path = Path(entry.path)
        if entry.is_symlink():
            yield from _link(path, root)
        elif entry.is_dir(follow_symlinks=False):
            yield from _folder(path, root)
        else:
            yield from _file(path, root)


def _link(path: Path, root: Path) -> Iterator[Candidate]:
    """A link is never followed. One that leads inside yields nothing: its target is listed in any case."""
    try:
        target = Path(os.path.realpath(path, strict=True))
    except OSError as error:
        yield Candidate(_name(path, root), refusal="link-loop" if error.errno == errno.ELOOP else "link-broken")
    else:
        if not target.is_relative_to(root):
            yield Candidate(_name(path, root), refusal="link-outside")
        elif path.is_relative_to(target):
            yield Candidate(_name(path, root), refusal="link-loop")


def _file(path: Path, root: Path) -> Iterator[Candidate]:
    name = _name(path, root)
    try:
        is_plain = stat.S_ISREG(path.lstat().st_mode)
        is_archive = is_plain and path.suffix.lower() == ".zip" and _is_archive(path)
    except OSError:
        yield Candidate(name, refusal="unreadable")
        return
    if not is_plain:
        yield Candidate(name, refusal="not-a-file")
    elif is_archive:
        yield from _archive(path, name)
    else:
        yield _plain(name, path)


def _is_archive(file: Path) -> bool:
    """Whether a file is a zip archive, or began as one and was cut short."""
    with file.open("rb") as stream:
        return stream.read(len(_MEMBER)) == _MEMBER or zipfile.is_zipfile(file)


def _archive(file: Path, name: str) -> Iterator[Candidate]:
    """The members of a zip archive; none is unpacked under its own name, so none can land elsewhere."""
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())  # no member is read beyond its size
            most = min(max(_HARMLESS, _MOST_RATIO * file.stat().st_size), _MOST_UNPACKED)
            if unpacked > most:
                yield Candidate(name, refusal="archive-too-large")
                return
            files = [(number, member) for number, member in enumerate(archive.infolist()) if not member.is_dir()]
            yield from _missing_members(archive, [member for _, member in files], name)
            for number, member in sorted(files, key=lambda file: file[1].filename):
                yield _member(archive, member, number, f"{name}!{member.filename}")
    except (OSError, zipfile.BadZipFile):
        yield Candidate(name, refusal="archive-damaged")


def _missing_members(archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], name: str) -> Iterator[Candidate]:
    """What a DICOMDIR in an archive names and is no member of it."""
    paths = {_member_path(member).parts: member for member in members}
    held = {_file_id(path) for path in paths}
    for (*folder, _), index in ((path, member) for path, member in paths.items() if _is_index(Path(*path))):
        for parts in _listed(partial(archive.open, index)) or ():
            listed = (*folder, *parts)
            if _leads_out(parts) or _file_id(listed) not in held:
                refusal = "path-outside" if _leads_out(parts) else "listed-but-missing"
                yield Candidate(f"{name}!{'/'.join(listed)}", refusal=refusal)


def _member_path(member: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(member.filename.replace("\\", "/"))


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, number: int, name: str) -> Candidate:
    path = _member_path(member)
    if path.is_absolute() or ".." in path.parts:
        return Candidate(name, refusal="path-outside")
    if stat.S_ISLNK(member.external_attr >> 16):
        return Candidate(name, refusal="link-outside")
    if member.flag_bits & _ENCRYPTED:
        return Candidate(name, refusal="archive-damaged")
    if path.suffix.lower() == ".zip":
        return Candidate(name, refusal="nested-archive")
    path_of_archive = Path(archive.filename) if archive.filename else None
    return Candidate(name, lambda: archive.open(member), path=path_of_archive, member=number)


def _dicomdir(directory: Path) -> Iterator[Candidate]:
    """The files that a DICOMDIR names (PS3.10 section 8): components below the DICOMDIR's own folder."""
    listed = _listed(lambda: directory.open("rb"))
    if listed is None:
        yield Candidate(directory.name, refusal="corrupt")
        return
    root, named = directory.parent, {directory}
    files = _files_by_id(root)
    for parts in listed:
        for candidate in _referenced(root, parts, files):
            named.add(candidate.path or directory)
            yield candidate
    for path in sorted(path for same in files.values() for path in same if path not in named):
        if _looks_like_dicom(path):
            yield Candidate(_name(path, root), refusal="not-in-dicomdir", path=path)


def _missing(directory: Path, root: Path) -> Iterator[Candidate]:
    """What a DICOMDIR in a folder names and is not there; an index that cannot be read is refused as a file."""
    folder, listed = directory.parent, _listed(lambda: directory.open("rb")) or ()
    files = _files_by_id(folder) if listed else {}
    above = "" if folder == root else f"{_name(folder, root)}/"
    for candidate in (candidate for parts in listed for candidate in _referenced(folder, parts, files)):
        if candidate.refusal in {"listed-but-missing", "path-outside"}:
            yield Candidate(above + candidate.name, refusal=candidate.refusal)


def _listed(directory: Callable[[], IO[bytes]]) -> list[tuple[str, ...]] | None:
    """The components of each Referenced File ID, in order; `None` where the file that `directory` opens is broken."""
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote values
            with directory() as stream:
                records = pydicom.dcmread(stream).get("DirectoryRecordSequence") or ()
            file_ids = [record.get("ReferencedFileID") for record in records]
        return sorted({(part,) if isinstance(part, str) else tuple(map(str, part)) for part in file_ids if part})
    except Exception:  # noqa: BLE001 -- pydicom raises nearly anything on a broken file; the texts may quote values
        return None


def _files_by_id(root: Path) -> dict[tuple[str, ...], list[Path]]:
    """The files below a folder by what a DICOMDIR may call them; no link is followed."""
    files: dict[tuple[str, ...], list[Path]] = {}
    for folder, _, names in os.walk(root):
        for path in (Path(folder, name) for name in sorted(names)):
            if not path.is_symlink() and path.is_file():
                files.setdefault(_file_id(path.relative_to(root).parts), []).append(path)
    return files


def _file_id(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Components as they are compared: media are mounted in lower case, with `;1`, or get an extension when copied."""
    *folders, name = (part.casefold() for part in parts)
    return (*folders, _EXTENSION.sub("", _VERSION.sub("", name)))


def _referenced(root: Path, parts: tuple[str, ...], files: dict[tuple[str, ...], list[Path]]) -> Iterator[Candidate]:
    name = "/".join(parts)
    if _leads_out(parts):
        yield Candidate(name, refusal="path-outside")
    elif paths := files.get(_file_id(parts)):
        yield from (_plain(_name(path, root), path) for path in paths)
    else:
        yield _linked(root, name)


def _leads_out(parts: tuple[str, ...]) -> bool:
    return any(part in {"", ".", ".."} or "/" in part for part in parts)


def _linked(root: Path, name: str) -> Candidate:
    """A file that only a link leads to, or that is not there."""
    path = root / name
    try:
        is_inside = path.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):
        return Candidate(name, refusal="listed-but-missing")
    return _plain(name, path) if is_inside else Candidate(name, refusal="link-outside")


def _is_index(file: Path) -> bool:
    return _file_id((file.name,)) == ("dicomdir",)


def _looks_like_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return True  # it is told of rather than passed over


def _plain(name: str, path: Path) -> Candidate:
    return Candidate(name, lambda: path.open("rb"), path=path)


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
