"""Rows to plain Parquet or JSONL files with an explicit schema, streaming; the same batches always give the same bytes.

In: writing one file and describing it. Out: which rows there are (`long_rows`, `wide_form`), and putting files in
place (`swapping`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

_HASH_BLOCK_BYTES = 2**20


@dataclass(frozen=True)
class ExportedFile:
    """One file that was written."""

    path: Path
    rows: int
    bytes: int


class RowFile:
    """Writes record batches to one file; a context manager."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.rows = 0
        self._parquet: pq.ParquetWriter | None = None
        self._lines: IO[str] | None = None
        if path.suffix == ".parquet":
            self._parquet = pq.ParquetWriter(path, schema, compression="zstd")
        else:
            self._lines = path.open("w", encoding="utf-8", newline="\n")

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the rows; in Parquet each batch is a row group."""
        self.rows += batch.num_rows
        if self._parquet is not None:
            self._parquet.write_batch(batch)
        if self._lines is not None:
            for row in batch.to_pylist():
                self._lines.write(json.dumps(row, ensure_ascii=False) + "\n")

    def __enter__(self) -> RowFile:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._parquet is not None:
            self._parquet.close()
        if self._lines is not None:
            self._lines.close()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
