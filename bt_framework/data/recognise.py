"""Which reader a file belongs to: each is asked, and exactly one must say that it is its own."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from bt_framework.data.source import HEAD_BYTES, FileConfig
from bt_framework.data.streams import decompressed_blocks
from bt_framework.errors import DataError

FileDone = Callable[[int, int], None]
"""Called with the number of files looked at, and of all."""


@dataclass
class Recognised:
    """Files by the reader that claims them.

    Attributes
    ----------
    by_reader : dict of str to list of Path
        Files that one reader claims.
    unknown : list of (Path, str)
        Files that none does, each with a reason or an empty text.
    ambiguous : list of (Path, list of str)
        Files that several do, and which.
    """

    by_reader: dict[str, list[Path]] = field(default_factory=dict)
    unknown: list[tuple[Path, str]] = field(default_factory=list)
    ambiguous: list[tuple[Path, list[str]]] = field(default_factory=list)


def recognise(
    paths: Sequence[Path],
    readers: Mapping[str, type[FileConfig]],
    exclude: Iterable[Path] = (),
    file_done: FileDone | None = None,
) -> Recognised:
    """Ask `readers` about each file of `paths`, folders searched to the bottom.

    Parameters
    ----------
    paths : sequence of Path
        Files and folders; below a folder, names that begin with a dot are left out, and links are not followed.
    readers : mapping of str to type
        Registry name to configuration.
    exclude : iterable of Path
        Folders to leave out, such as the event store's.
    file_done : callable, optional
    """
    found = Recognised()
    files = list(_files(paths, {path.resolve() for path in exclude}, found))
    for number, path in enumerate(files, start=1):
        _sort(path, readers, found)
        if file_done:
            file_done(number, len(files))
    return found


def _files(paths: Sequence[Path], exclude: set[Path], found: Recognised) -> Iterator[Path]:
    """Regular files, each once, by name; links are put among the unknown."""
    seen: set[Path] = set()
    for path in paths:
        for file in [path] if not path.is_dir() else _below(path, exclude, found):
            resolved = file.resolve()
            if resolved not in seen:
                seen.add(resolved)
                yield file


def _below(root: Path, exclude: set[Path], found: Recognised) -> Iterator[Path]:
    inside = root.resolve()
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        kept = []
        for name in sorted(folders):
            if (here / name).is_symlink():
                _note_link(here / name, inside, found)
            elif not name.startswith(".") and (here / name).resolve() not in exclude:
                kept.append(name)
        folders[:] = kept
        for name in sorted(names):
            path = here / name
            if path.is_symlink():
                _note_link(path, inside, found)
            elif not name.startswith(".") and stat.S_ISREG(path.stat().st_mode):
                yield path


def _note_link(path: Path, inside: Path, found: Recognised) -> None:
    """Name a link out of the folder; what one inside leads to is met there."""
    try:
        target = path.resolve()
    except (OSError, RuntimeError):  # RuntimeError up to Python 3.12
        found.unknown.append((path, "a link to itself"))
        return
    if not target.is_relative_to(inside):
        found.unknown.append((path, "a link out of the folder"))


def _sort(path: Path, readers: Mapping[str, type[FileConfig]], found: Recognised) -> None:
    head, problem = head_of(path)
    claims = []
    for name, config_class in readers.items():
        try:
            if config_class.recognise(path, head):
                claims.append(name)
        except Exception as error:  # a stranger's reader must not keep the others from their files
            problem = problem or f"{name} could not look at it: {error!r}"
    if len(claims) == 1:
        found.by_reader.setdefault(claims[0], []).append(path)
    elif claims:
        found.ambiguous.append((path, sorted(claims)))
    else:
        found.unknown.append((path, problem))


def head_of(path: Path) -> tuple[bytes, str]:
    """First `HEAD_BYTES` of a file's content, gzip, xz, zstd and the first file in a zip undone.

    Returns
    -------
    head : bytes
        As much as can be read.
    problem : str
        Why it is less, empty if it is not.
    """
    head = bytearray()
    try:
        if zipfile.is_zipfile(path):
            return _zip_head(path), ""
        with closing(decompressed_blocks(path, HEAD_BYTES)) as blocks:
            for block, _ in blocks:
                head += block
                if len(head) >= HEAD_BYTES:
                    break
    except DataError as error:
        return bytes(head), str(error)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        return bytes(head), f"cannot be read: {error}"
    return bytes(head[:HEAD_BYTES]), ""


def _zip_head(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                with archive.open(member) as file:
                    return file.read(HEAD_BYTES)
    return b""
