"""Temporary files of a process: one folder for all of them, and nothing left behind, not even after `kill -9`.

In: making that folder, removing it at the end, removing those of processes that died. Out: what lies in it.

Whoever lives holds a lock on a file in its folder; the kernel drops the lock with the process. So a folder whose lock
can be had is nobody's, whatever its process number means by now.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_PREFIX = "synth-"
_LOCK_NAME = "in_use.lock"
_folders: dict[int, tuple[Path, IO[str]]] = {}
_folders_lock = threading.Lock()


def scratch_folder(name: str) -> Path:
    """A new folder under this process's own, its name beginning with `name`; the caller may remove it earlier.

    The first call of a process removes what dead processes of this user left in TMPDIR. Raises OSError.
    """
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=_own_folder()))


@contextlib.contextmanager
def temporary_folder(name: str) -> Iterator[Path]:
    """A `scratch_folder` that is removed on leaving."""
    folder = scratch_folder(name)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_own_folder() -> None:
    """Remove what this process has there, where it ends without its exit handlers."""
    _remove_own(os.getpid())


def _own_folder() -> Path:
    pid = os.getpid()
    with _folders_lock:
        if pid not in _folders:
            _sweep(Path(tempfile.gettempdir()))
            _folders[pid] = _make_folder()
            atexit.register(_remove_own, pid)
        return _folders[pid][0]


def _make_folder() -> tuple[Path, IO[str]]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = open(folder / _LOCK_NAME, "w")  # noqa: SIM115 - it stays open as long as the process lives
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Somebody may have swept the folder between its making and the lock.
            if os.path.samestat(os.fstat(lock.fileno()), os.stat(folder / _LOCK_NAME)):
                return folder, lock
        lock.close()


def _remove_own(pid: int) -> None:
    # A forked child inherits the registration, not the folder.
    if os.getpid() == pid and pid in _folders:
        shutil.rmtree(_folders.pop(pid)[0], ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Remove the folders of dead processes; those of other users and whatever holds no lock file stay."""
    for path in parent.glob(f"{_PREFIX}*/{_LOCK_NAME}"):
        with contextlib.suppress(OSError):
            if path.stat().st_uid != os.geteuid():
                continue
            with path.open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.parent, ignore_errors=True)
