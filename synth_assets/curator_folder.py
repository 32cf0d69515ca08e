"""The folder of Curator outputs, seen as partitions with content versions.

In: which files there are and which content each has, wherever they are. Out: listing a folder (`local_folder`) or an
object store (`object_store`), reading documents (`core.documents`), and what to do about a change (`planning`).
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from resources.errors import SynthError
from synth_assets.core.curator_files import CuratorFile
from synth_assets.core.documents import CuratorFileError, content_fingerprint
from synth_assets.local_folder import LocalFolder
from synth_assets.object_store import ObjectStore

_HASHING_THREADS = 8
"""An object store answers each request after tens of milliseconds; hashing itself releases the interpreter lock."""

_CLOCK_STEP_NS = 2 * 10**9
"""A store keeps times in whole seconds: a file this young can be replaced and still have the same size and time."""


class CuratorStore(Protocol):
    """Where the files are; `str()` of it is the address."""

    @property
    def has_whole_files_only(self) -> bool:
        """Whether a file appears at once, when all of it is written."""
        ...

    def files(self) -> dict[str, CuratorFile]:
        """All Curator outputs by their relative name, sorted; raises CuratorFolderError."""
        ...

    def find(self, curator_file: str) -> CuratorFile | None:
        """One of them as it is now; None when it is gone."""
        ...

    def location(self, curator_file: str) -> str:
        """Where it is, for people."""
        ...


@dataclass(frozen=True)
class _Stored:
    address: str
    files: dict[str, tuple[int, int, str]]


_STORED = TypeAdapter(_Stored)


class CuratorFolder:
    """Files under one address; hashes are kept by size and modification time, so that a look costs no reading."""

    def __init__(self, address: Path | str, cache_file: Path | None = None) -> None:
        self._store: CuratorStore = LocalFolder(address) if isinstance(address, Path) else ObjectStore(address)
        self._cache_file = cache_file
        self._hashes = self._stored_hashes()

    def __str__(self) -> str:
        return str(self._store)

    @property
    def has_whole_files_only(self) -> bool:
        """Whether a file appears at once, when all of it is written."""
        return self._store.has_whole_files_only

    def location(self, curator_file: str) -> str:
        """Path or address of one file, for people."""
        return self._store.location(curator_file)

    def files(self) -> dict[str, CuratorFile]:
        """`curator_file` (name relative to the address) to file, sorted."""
        return self._store.files()

    def file(self, curator_file: str) -> CuratorFile:
        """One file as it is now; raises SynthError when it is gone."""
        found = self._store.find(curator_file)
        if found is None:
            raise SynthError(
                f"{self.location(curator_file)} is gone.",
                "Run `synth run`: it retires the partitions of deleted files.",
            )
        return found

    def versions(self, names: Collection[str] | None = None) -> dict[str, str]:
        """Content version of each file (or of those named that exist)."""
        files = self.files()
        wanted = files if names is None else {name: files[name] for name in names if name in files}
        with ThreadPoolExecutor(_HASHING_THREADS) as pool:
            versions = dict(zip(wanted, pool.map(self._version_if_there, wanted, wanted.values()), strict=True))
        self._hashes = {name: known for name, known in self._hashes.items() if name in files}
        return {name: version for name, version in versions.items() if version is not None}

    def _version_if_there(self, curator_file: str, file: CuratorFile) -> str | None:
        try:
            return self.version(curator_file, file)
        except CuratorFileError:
            if self._store.find(curator_file) is None:
                return None  # deleted since it was listed
            raise

    def version(self, curator_file: str, file: CuratorFile) -> str:
        """Hash of one file's bytes."""
        known = self._hashes.get(curator_file)
        if known is not None and known[:2] == (file.size_bytes, file.modified_ns):
            return known[2]
        looked_at_ns = time.time_ns()
        version = content_fingerprint(file.source)
        if abs(looked_at_ns - file.modified_ns) > _CLOCK_STEP_NS:
            self._hashes[curator_file] = (file.size_bytes, file.modified_ns, version)
        return version

    def save_cache(self) -> None:
        """Keep the hashes for the next process; called by whatever is allowed to write."""
        if self._cache_file is None:
            return
        self._cache_file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._cache_file.parent)
        with os.fdopen(handle, "w") as file:
            json.dump({"address": str(self), "files": self._hashes}, file)
        os.replace(temporary, self._cache_file)

    def _stored_hashes(self) -> dict[str, tuple[int, int, str]]:
        """What the last process kept; nothing where it looked at another folder, whose names may be the same.

        A file that is cut off or of another shape counts as none: it only saves reading.
        """
        try:
            stored = _STORED.validate_json(self._cache_file.read_bytes()) if self._cache_file else None
        except (FileNotFoundError, ValidationError):
            return {}
        return stored.files if stored is not None and stored.address == str(self) else {}
