"""The evaluation sets that texts are kept free of: files of a folder, their version, and the screen made of them.

In: reading every string of every row, and noticing a change. Out: what counts as contaminated (`core.decontamination`).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from resources.errors import SynthError
from synth_assets.core.code_fingerprint import code_fingerprint
from synth_assets.core.curator_files import CURATOR_SUFFIXES, is_curator_name, is_left_out
from synth_assets.core.decontamination import EvaluationIndex
from synth_assets.core.screening import Screen

NO_SETS = "none"
"""The version where nothing is configured."""

_ROWS_PER_BATCH = 256


class EvaluationSetError(SynthError):
    """An evaluation set that cannot be read: names the file and the line."""


class EvaluationSets:
    """Files of one folder, with `folder` None: no sets. The index is made once, and again when a file has changed."""

    def __init__(self, folder: Path | None, ngram: int) -> None:
        self.folder = folder
        self.ngram = ngram
        self._digests: dict[tuple[str, int, int], bytes] = {}
        self._index: tuple[str, EvaluationIndex] | None = None

    def version(self) -> str:
        """32 hex digits of the rules, the files' names and their bytes; EvaluationSetError when one is unreadable."""
        if self.folder is None:
            return NO_SETS
        digest = hashlib.blake2b(self._rules.encode(), digest_size=16)
        for name, path in self._files():
            digest.update(f"|{name}|".encode() + self._content(name, path))
        return digest.hexdigest()

    def screens(self) -> tuple[Screen, ...]:
        """What drops contaminated texts: one screen, or none where nothing is configured."""
        if self.folder is None:
            return ()
        version = self.version()
        if self._index is None or self._index[0] != version:
            texts = ((_set_name(name), text) for name, path in self._files() for text in _texts(name, path))
            self._index = (version, EvaluationIndex(texts, self.ngram))
        return (self._index[1].reject,)

    @cached_property
    def _rules(self) -> str:
        return f"{self.ngram}|{code_fingerprint(EvaluationIndex, _strings)}"

    def _files(self) -> list[tuple[str, Path]]:
        assert self.folder is not None
        found = [(path.relative_to(self.folder), path) for path in self.folder.rglob("*") if is_curator_name(path.name)]
        files = [(name.as_posix(), path) for name, path in found if not any(map(is_left_out, name.parts))]
        if not files:
            raise EvaluationSetError(
                f"EVALUATION_SETS is {self.folder}, which has no {', '.join('*' + end for end in CURATOR_SUFFIXES)}.",
                "Put the evaluation sets there, or leave the setting empty.",
            )
        return sorted(files)

    def _content(self, name: str, path: Path) -> bytes:
        """Hash of the bytes; a file of the same size and time is not read again."""
        try:
            status = path.stat()
            key = (name, status.st_size, status.st_mtime_ns)
            if key not in self._digests:
                with path.open("rb") as file:
                    self._digests[key] = hashlib.file_digest(file, "blake2b").digest()
        except OSError as error:
            raise _unreadable(name, 0, error.strerror or str(error)) from error
        return self._digests[key]


def _set_name(name: str) -> str:
    suffix = next(end for end in CURATOR_SUFFIXES if name.lower().endswith(end))
    return name[: -len(suffix)]


def _texts(name: str, path: Path) -> Iterator[str]:
    rows = _parquet_rows(path) if name.lower().endswith(".parquet") else _json_rows(path)
    row_number = 1
    try:
        for row in rows:
            yield from _strings(row)
            row_number += 1
    # Invalid UTF-8 and broken JSON are ValueErrors.
    except (OSError, EOFError, ValueError, RecursionError, zlib.error, pa.ArrowException) as error:
        raise _unreadable(name, row_number, str(error)) from error


def _parquet_rows(path: Path) -> Iterator[Any]:
    with pq.ParquetFile(path) as source:
        for batch in source.iter_batches(_ROWS_PER_BATCH):
            yield from batch.to_pylist()


def _json_rows(path: Path) -> Iterator[Any]:
    """One value for each line, None for a blank one."""
    with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as lines:
        for line in lines:
            yield json.loads(line.decode("utf-8-sig")) if line.strip() else None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _strings(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _strings(part)


def _unreadable(name: str, row_number: int, why: str) -> EvaluationSetError:
    where = f", line {row_number}," if row_number else ""
    return EvaluationSetError(
        f"{name}{where} in EVALUATION_SETS cannot be read: {why}.", "Correct the file, or move it out of the folder."
    )
