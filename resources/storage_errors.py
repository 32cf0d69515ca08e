"""What a full or unwritable disk does to whatever writes to it, in words that help: which folder, and what to do.

In: recognising such an error, also below others, and naming the folder. Out: what the lake makes of its own errors
(`resources.lake_errors`), and exit codes.
"""

from __future__ import annotations

import errno
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from resources.errors import SynthError

# Words of SQLite, DuckDB, Arrow and the operating system.
FULL = r"no space left on device|database or disk is full|disk quota exceeded|file too large|disk i/o error"
"""SQLite calls it an I/O error where its write-ahead log does not fit the disk."""

UNWRITABLE = r"readonly database|read-only file system|permission denied|operation not permitted"

_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNWRITABLE_ERRNOS = (errno.EROFS, errno.EACCES, errno.EPERM)


class StorageError(SynthError):
    """A folder cannot be written: it is full, read-only or somebody else's."""


def explain_storage(error: BaseException, folders: Iterable[Path]) -> StorageError | None:
    """The error as fact and remedy where a disk is behind it, else None; `folders` are those that may be meant."""
    for link in _chain(error):
        message = str(link)
        is_database = type(link).__module__.partition(".")[0] in ("sqlite3", "sqlalchemy")
        number = link.errno if isinstance(link, OSError) else None
        path = link.filename if isinstance(link, OSError) else None
        if number in _FULL_ERRNOS or (is_database and re.search(FULL, message, re.IGNORECASE)):
            where = [Path(str(path)).parent] if path else [*folders, Path(tempfile.gettempdir())]
            return StorageError(
                f"The disk is full or fails: {fullest(where)}.",
                "Free space and run again: everything committed so far is kept.",
            )
        if number in _UNWRITABLE_ERRNOS or (is_database and re.search(UNWRITABLE, message, re.IGNORECASE)):
            what = str(path) if path else " or ".join(map(str, folders))
            return StorageError(
                f"{what} cannot be opened or written: {_first_line(message)}.",
                "Make it readable and writable for this user, or choose another folder with SYNTH_HOME (TMPDIR for "
                "temporary files).",
            )
    return None


def fullest(folders: Iterable[Path]) -> str:
    """The folder whose disk has the least space left, and how much that is."""
    free = {folder: shutil.disk_usage(_existing(folder)).free for folder in folders}
    folder = min(free, key=lambda one: free[one])
    return f"{folder} has {free[folder] / 1e6:.1f} MB left"


def _existing(folder: Path) -> Path:
    return next((one for one in (folder, *folder.parents) if one.exists()), Path("/"))


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0].rstrip(".")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those that it rests on."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
