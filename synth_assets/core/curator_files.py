"""Curator's files as they are found, in a folder or in an object store: what is one, and what is known without reading.

In: the rules for names, and the value object of a file. Out: listing (`local_folder`, `object_store`) and reading
(`documents`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Literal, Protocol

from resources.errors import SynthError

CURATOR_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")

_TEMPORARY_ENDINGS = (".tmp", ".temp", ".partial", ".incomplete", ".inprogress")
"""`a.tmp.jsonl` is a file that a writer has not renamed yet (`a.jsonl.tmp` has no Curator suffix anyway)."""


class CuratorFolderError(SynthError):
    """The folder of Curator outputs cannot be read."""


class CuratorSource(Protocol):
    """What is read: a `pathlib.Path`, or an object of a store; `str()` of it says where it is."""

    def open(self, mode: Literal["rb"]) -> IO[bytes]:
        """A new stream over the bytes, which can seek; raises OSError (FileNotFoundError when it is gone)."""
        ...


@dataclass(frozen=True)
class CuratorFile:
    """One file when it was looked at; `modified_ns` is in nanoseconds since 1970, as exact as its store is."""

    source: CuratorSource
    size_bytes: int
    modified_ns: int


def is_left_out(name: str) -> bool:
    """Whether a file or folder of that name is hidden or a writer's own (`_SUCCESS`, `_temporary`)."""
    return name.startswith((".", "_"))


def is_curator_name(name: str) -> bool:
    """Whether a file of that name, without its folder, is a Curator output and not one under a temporary name."""
    lowered = name.lower()
    suffix = next((suffix for suffix in CURATOR_SUFFIXES if lowered.endswith(suffix)), None)
    if suffix is None or is_left_out(name):
        return False
    return not lowered.removesuffix(suffix).endswith(_TEMPORARY_ENDINGS)


def partition_key(relative_name: str) -> str:
    """The name relative to the folder, with `/`; raises CuratorFolderError when it cannot be a partition key."""
    if not relative_name.isprintable() or "..." in relative_name:
        raise CuratorFolderError(
            f"The name of {relative_name!r} in CURATOR_OUTPUT_DIR cannot be a partition key.",
            "Rename it: no control characters, no bytes that are not UTF-8, no three dots in a row.",
        )
    return relative_name
