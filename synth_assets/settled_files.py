"""Which Curator files are whole, judged by two looks at them, and what a sensor remembers between its looks.

In: sizes, times and ends of files; the cursor's text. Out: listing (`curator_folder`), asking for runs (`sensors`).

Curator writes in place and leaves no mark when it is done, so a file counts once it has been quiet for a while and its
end looks like one. An object of a store appears when all of it is written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from synth_assets.core.curator_files import CuratorFile

QUIET_SECONDS = 10.0
"""A file that was written to more recently is still being written; Curator's writers flush every few seconds."""

UNFINISHED_SECONDS = 300.0
"""After so long without a write, a file that does not look whole is taken as it is: its writer ends without a mark."""

STORE_QUIET_SECONDS = 2.0
"""A store keeps times in whole seconds: an object this young can be replaced and still have the same size and time."""

CURSOR_VERSION = 2

Entry = tuple[int, int]
"""Size in bytes and modification time in nanoseconds."""


@dataclass(frozen=True)
class Memory:
    """What the sensor knows from its last tick.

    `settled` is what a run was asked for. `waiting` holds the files whose time lies in the future (clocks differ
    between machines), with when they were first seen, in seconds since 1970: their age is counted from there.
    """

    settled: Mapping[str, Entry] = field(default_factory=dict)
    waiting: Mapping[str, tuple[int, int, float]] = field(default_factory=dict)
    run_key: str = ""

    @classmethod
    def of(cls, cursor: str | None) -> Memory:
        """From a cursor; that of the first version was the settled files alone.

        A cursor that cannot be read counts as none: every file is looked at anew, and the run finds what is stale.
        """
        try:
            stored: dict[str, Any] = json.loads(cursor) if cursor else {}
            if "version" not in stored:
                stored = {"settled": stored}
            return cls(
                {name: (size, modified) for name, (size, modified) in stored["settled"].items()},
                {name: (size, modified, seen) for name, (size, modified, seen) in stored.get("waiting", {}).items()},
                stored.get("run_key", ""),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def cursor(self) -> str:
        """The text that `of` reads; about 60 bytes a file."""
        content = {"version": CURSOR_VERSION, "run_key": self.run_key, "settled": self.settled, "waiting": self.waiting}
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    def changed(self, later: Memory) -> list[str]:
        """Files that are new, changed or gone in the later one, sorted."""
        names = {*self.settled, *later.settled}
        return sorted(name for name in names if self.settled.get(name) != later.settled.get(name))

    def with_next_run_key(self, before: Memory) -> Memory:
        """The same with the key of the run that brings it about from `before`.

        Keys form a chain, because Dagster never runs a key twice: a file that goes and comes back with its old time
        leads to a state that was there before, and yet to a run of its own. A tick that is evaluated again with its
        old cursor gets its old key.
        """
        content = json.dumps([before.run_key, self.settled], sort_keys=True)
        return replace(self, run_key=hashlib.blake2b(content.encode(), digest_size=16).hexdigest())


@dataclass(frozen=True)
class Look:
    """What one tick found: the new memory, and how many files are still being written."""

    memory: Memory
    being_written: int


def settle(files: Mapping[str, CuratorFile], before: Memory, now_seconds: float, has_whole_files_only: bool) -> Look:
    """Judge each file; one that is being written keeps the entry it had, so that it counts as unchanged until whole."""
    settled: dict[str, Entry] = {}
    waiting: dict[str, tuple[int, int, float]] = {}
    being_written = 0
    for name, file in files.items():
        entry = (file.size_bytes, file.modified_ns)
        if before.settled.get(name) == entry:
            settled[name] = entry
            continue
        quiet_seconds = now_seconds - file.modified_ns / 1e9
        first_seen = now_seconds
        if quiet_seconds < 0:
            known = before.waiting.get(name)
            first_seen = known[2] if known is not None and known[:2] == entry else now_seconds
            quiet_seconds = now_seconds - first_seen
        if not is_being_written(name, file, quiet_seconds, has_whole_files_only):
            settled[name] = entry
            continue
        being_written += 1
        if file.modified_ns / 1e9 > now_seconds:
            waiting[name] = (*entry, first_seen)
        if name in before.settled:
            settled[name] = before.settled[name]
    return Look(Memory(settled, waiting, before.run_key), being_written)


def is_being_written(name: str, file: CuratorFile, quiet_seconds: float, has_whole_files_only: bool) -> bool:
    """Written to a moment ago, or not yet whole and not yet given up on."""
    if has_whole_files_only:
        return quiet_seconds < STORE_QUIET_SECONDS
    if quiet_seconds < QUIET_SECONDS:
        return True
    return quiet_seconds < UNFINISHED_SECONDS and not is_whole(name, file)


def is_whole(name: str, file: CuratorFile) -> bool:
    """Whether a file's end looks like an end: a line break for JSONL, the magic number for Parquet."""
    if name.lower().endswith(".parquet"):
        return file.size_bytes >= 8 and _tail(file, 4) == b"PAR1"
    if name.lower().endswith(".jsonl"):
        return file.size_bytes == 0 or _tail(file, 1) == b"\n"
    return file.size_bytes > 0


def _tail(file: CuratorFile, length: int) -> bytes:
    try:
        with file.source.open("rb") as stream:
            stream.seek(-length, 2)
            return stream.read(length)
    except OSError:  # gone or cut since it was looked at, or not ours to read: the next tick looks again
        return b""
