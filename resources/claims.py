"""Claims on request keys, so that two runs over one ledger never ask for the same answer at once.

In: claims beside a catalogue in a file, and which kind of claims a lake's address needs. Out: claims through a
PostgreSQL catalogue (`resources.postgres_claims`), and when a key is claimed (`synth_assets.core.purchasing`).

Nothing is stored: a claim is a lock that the operating system holds for the process, so `kill -9` frees it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from resources.errors import LakeError
from resources.inference import RequestClaims
from resources.lake_address import LakeAddress
from resources.lake_errors import explained


def open_claims(address: LakeAddress) -> RequestClaims:
    """Claims of one purchase among all processes that write to this lake; opens nothing before the first claim."""
    if address.catalog_file is not None:
        return FileClaims(Path(f"{address.catalog_file}.claims"))
    # Late: who has a SQLite catalogue needs no PostgreSQL client.
    from resources.postgres_claims import PostgresClaims

    return PostgresClaims(address.catalog.removeprefix("postgres:"))


def claim_number(request_key: str) -> int:
    """A key's number, below 2**62: an offset in a file, or a bigint. Two of 10 million keys share one by 1 in 10**5."""
    return int.from_bytes(hashlib.blake2b(request_key.encode(), digest_size=8).digest()) >> 2


@dataclass
class _LockedFile:
    """What this process has locked in one file, whichever of its purchases it was."""

    descriptor: int
    taken: set[int] = field(default_factory=set)


# POSIX locks belong to the process and end when it closes any descriptor of the file. So there is one descriptor a
# file and process, closed only when nothing is locked, and this registry keeps the process's own purchases apart.
# Locks of an open file description (F_OFD_SETLK) would do without it, but neither macOS nor every NFS has them.
_locked_files: dict[tuple[int, str], _LockedFile] = {}
_registry_lock = threading.Lock()


class FileClaims:
    """Claims as locks on single bytes of a file that stays empty; implements `resources.inference.RequestClaims`.

    Each instance is a claimant of its own, also within one process. Folder and file are made by the first claim.
    """

    def __init__(self, file: Path) -> None:
        self._path = os.path.realpath(file)
        self._ours: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._unlock(None)

    def claim(self, request_keys: Collection[str]) -> set[str]:
        """Those of the keys that are ours now. LakeError where the file cannot be made or locked."""
        with _registry_lock, explained():
            return {key for key in request_keys if self._lock(claim_number(key))}

    def release(self, request_keys: Collection[str]) -> None:
        """Give up those of the keys that are ours."""
        self._unlock({claim_number(key) for key in request_keys})

    def _lock(self, number: int) -> bool:
        if number in self._ours:
            return True
        locked = _locked_files.get((os.getpid(), self._path))
        if locked is None:
            locked = _LockedFile(_open(self._path))
            _locked_files[os.getpid(), self._path] = locked
        if number in locked.taken or not _try_lock(locked.descriptor, number, self._path):
            return False
        locked.taken.add(number)
        self._ours.add(number)
        return True

    def _unlock(self, asked: set[int] | None) -> None:
        with _registry_lock:
            locked = _locked_files.get((os.getpid(), self._path))
            numbers = set(self._ours) if asked is None else asked & self._ours
            if locked is None or not numbers:
                return
            for number in numbers:
                fcntl.lockf(locked.descriptor, fcntl.LOCK_UN, 1, number)
            self._ours -= numbers
            locked.taken -= numbers
            if not locked.taken:
                os.close(locked.descriptor)
                del _locked_files[os.getpid(), self._path]


def _open(path: str) -> int:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def _try_lock(descriptor: int, number: int, path: str) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
    except (BlockingIOError, PermissionError):
        # EAGAIN or EACCES, as POSIX leaves it open: somebody else has it.
        return False
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise LakeError(
                f"The file system of {path} grants no locks. ({error})",
                "Put the catalogue (LAKE_CATALOG) on a local disk, or use a PostgreSQL catalogue.",
            ) from None
        raise
    return True
