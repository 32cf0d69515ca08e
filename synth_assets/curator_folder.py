"""The folder of Curator outputs, seen as partitions with content versions.

In: which files there are and which content each has. Out: reading documents (`core.documents`) and deciding what to do
about a change (`planning`).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection
from pathlib import Path

from resources.errors import SynthError
from synth_assets.core.documents import content_fingerprint, list_curator_files


class CuratorFolder:
    """Files of one folder; content hashes are kept by size and modification time, so that a look costs no reading."""

    def __init__(self, folder: Path, cache_file: Path | None = None) -> None:
        self.folder = folder
        self._cache_file = cache_file
        self._hashes: dict[str, tuple[int, int, str]] = {}
        if cache_file is not None and cache_file.exists():
            stored = json.loads(cache_file.read_text())
            self._hashes = {name: (size, mtime, version) for name, (size, mtime, version) in stored.items()}

    def files(self) -> dict[str, Path]:
        """`curator_file` (path relative to the folder) to path, sorted."""
        return list_curator_files(self.folder)

    def path(self, curator_file: str) -> Path:
        """The path of one file; raises SynthError when it is gone."""
        path = self.folder / curator_file
        if not path.is_file():
            raise SynthError(f"{path} is gone.", "Run `synth run`: it retires the partitions of deleted files.")
        return path

    def versions(self, names: Collection[str] | None = None) -> dict[str, str]:
        """Content version of each file (or of those named that exist)."""
        wanted = self.files() if names is None else {n: self.folder / n for n in names if (self.folder / n).is_file()}
        return {name: self.version(name, path) for name, path in wanted.items()}

    def version(self, name: str, path: Path) -> str:
        """Hash of one file's bytes."""
        status = path.stat()
        known = self._hashes.get(name)
        if known is None or known[:2] != (status.st_size, status.st_mtime_ns):
            known = (status.st_size, status.st_mtime_ns, content_fingerprint(path))
            self._hashes[name] = known
        return known[2]

    def save_cache(self) -> None:
        """Keep the hashes for the next process; called by whatever is allowed to write."""
        if self._cache_file is None:
            return
        self._cache_file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._cache_file.parent)
        with os.fdopen(handle, "w") as file:
            json.dump(self._hashes, file)
        os.replace(temporary, self._cache_file)
