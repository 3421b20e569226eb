"""The files of a source: a folder however deep, a zip archive, or the files that a DICOMDIR names.

Each file is a `Candidate`, in a stable order: its name below the source and a way to open it, or the code of the reason
why it is not opened. Nothing outside the source is ever read: links are not followed, and a name that leads out is
refused.
"""

import os
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from shared.errors import SourceMissing

_ENCRYPTED = 0x1  # general purpose flag, bit 0 (APPNOTE 4.4.4)


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
    if file.name.upper() == "DICOMDIR":
        yield from _dicomdir(file)
    elif zipfile.is_zipfile(file):
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
        target = path.resolve(strict=True)
    except RuntimeError:
        yield Candidate(_name(path, root), refusal="link-loop")
    except OSError:
        yield Candidate(_name(path, root), refusal="link-broken")
    else:
        if not target.is_relative_to(root):
            yield Candidate(_name(path, root), refusal="link-outside")
        elif path.is_relative_to(target):
            yield Candidate(_name(path, root), refusal="link-loop")


def _file(path: Path, root: Path) -> Iterator[Candidate]:
    name = _name(path, root)
    try:
        is_plain = stat.S_ISREG(path.lstat().st_mode)
        is_archive = is_plain and path.suffix.lower() == ".zip" and zipfile.is_zipfile(path)
    except OSError:
        yield Candidate(name, refusal="unreadable")
        return
    if not is_plain:
        yield Candidate(name, refusal="not-a-file")
    elif is_archive:
        yield from _archive(path, name)
    else:
        yield _plain(name, path)


def _archive(file: Path, name: str) -> Iterator[Candidate]:
    """The members of a zip archive; none is unpacked under its own name, so none can land elsewhere."""
    try:
        with zipfile.ZipFile(file) as archive:
            files = [(number, member) for number, member in enumerate(archive.infolist()) if not member.is_dir()]
            for number, member in sorted(files, key=lambda file: file[1].filename):
                yield _member(archive, member, number, f"{name}!{member.filename}")
    except (OSError, zipfile.BadZipFile):
        yield Candidate(name, refusal="archive-damaged")


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, number: int, name: str) -> Candidate:
    path = PurePosixPath(member.filename.replace("\\", "/"))
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
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote values
            records = pydicom.dcmread(directory).get("DirectoryRecordSequence") or ()
            file_ids = [record.get("ReferencedFileID") for record in records]
    except Exception:  # noqa: BLE001 -- pydicom raises nearly anything on a broken file; the texts may quote values
        yield Candidate(directory.name, refusal="corrupt")
        return
    for parts in sorted({(part,) if isinstance(part, str) else tuple(part) for part in file_ids if part}):
        yield _referenced(directory.parent, tuple(str(part) for part in parts))


def _referenced(root: Path, parts: tuple[str, ...]) -> Candidate:
    name = "/".join(parts)
    if any(part in {"", ".", ".."} or "/" in part for part in parts):
        return Candidate(name, refusal="path-outside")
    path = root.joinpath(*parts)
    try:
        if not path.resolve(strict=True).is_relative_to(root):
            return Candidate(name, refusal="link-outside")
    except (OSError, RuntimeError):
        return Candidate(name, refusal="listed-but-missing")
    return _plain(name, path)


def _plain(name: str, path: Path) -> Candidate:
    return Candidate(name, lambda: path.open("rb"), path=path)


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
